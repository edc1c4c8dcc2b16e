"""Train two kinds of model on handwritten digits; each step has a run of its own in MLflow."""

import mlflow
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, classification_report
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from trackyard import log_figure, log_metric, log_metrics, log_params, log_text, pipeline, step

Array = np.ndarray


@step
def load() -> tuple[Array, Array, Array, Array]:
    """Split the digits; without `experiment_tracker` a step has no run in a tracker."""
    images, labels = load_digits(return_X_y=True)
    return tuple(train_test_split(images / 16, labels, test_size=0.3, random_state=0))


@step(experiment_tracker=True)  # every tracker of the active stack
def train_network(images: Array, labels: Array, units: int, epochs: int) -> MLPClassifier:
    """Train a network: a point of each curve per epoch."""
    log_params({"units": units, "epochs": epochs})
    model = MLPClassifier(units, random_state=0)
    for epoch in range(epochs):
        model.partial_fit(images, labels, classes=range(10))
        accuracy = model.score(images, labels)
        log_metrics({"train/loss": model.loss_, "train/accuracy": accuracy}, step=epoch)
    return model


@step(experiment_tracker=True)
def train_regression(images: Array, labels: Array, strengths: list) -> LogisticRegression:
    """Choose a regularisation by cross-validation: a point per strength."""
    log_params({"strengths": strengths, "folds": 3})
    scores = []
    for index, strength in enumerate(strengths):
        model = LogisticRegression(C=strength, max_iter=1000)
        scores.append(cross_val_score(model, images, labels, cv=3).mean())
        log_metric("cv/accuracy", scores[-1], step=index)
    best = strengths[int(np.argmax(scores))]
    mlflow.log_param("best_strength", best)  # MLflow's own calls land in the same run
    return LogisticRegression(C=best, max_iter=1000).fit(images, labels)


@step(experiment_tracker=True)
def evaluate(model: object, images: Array, labels: Array) -> float:
    """Judge a model by digits that it has not seen."""
    predicted = model.predict(images)
    figure = Figure(layout="tight")
    ConfusionMatrixDisplay.from_predictions(labels, predicted, ax=figure.subplots())
    log_figure(figure, "confusion_matrix.png")
    log_text(classification_report(labels, predicted), "report.txt")
    log_metric("test/accuracy", accuracy := accuracy_score(labels, predicted))
    return accuracy


@pipeline
def digits(units: int = 64, epochs: int = 30):
    """Train both models on the same split and evaluate each."""
    train_images, test_images, train_labels, test_labels = load()
    network = train_network(train_images, train_labels, units, epochs)
    regression = train_regression(train_images, train_labels, [0.001, 0.01, 0.1, 1.0, 10.0])
    evaluate.with_options(name="evaluate_network")(network, test_images, test_labels)
    evaluate.with_options(name="evaluate_regression")(regression, test_images, test_labels)


if __name__ == "__main__":
    threadpool_limits(1)  # matrices this small gain nothing from threads
    run = digits()
    for name, done in run.steps.items():
        metric = " ".join(f"{k} {v:.3f}" for k, v in done.metrics.items() if "accuracy" in k)
        print(f"{name:19}  {done.status}  {done.duration:4.1f} s  {metric:20}  {done.url or ''}")
    print("\nOpen them with .venv/bin/trackyard ui, compare them with .venv/bin/trackyard page")
