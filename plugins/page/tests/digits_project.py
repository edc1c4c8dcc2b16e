"""Fill the project of the working directory with what the documentation's pictures show."""

import math
import random
import time
from contextlib import suppress

from trackyard import log_metric, log_params, log_text, pipeline, start_run, step

EPOCHS = 40
FOLDS = 8
RUNS = (
    # name, rate, layers, optimizer, the accuracy that it comes to
    ("baseline", 0.01, 2, "sgd", 0.914),
    ("wider", 0.01, 2, "adam", 0.953),
    ("deeper", 0.003, 4, "adam", 0.971),
    ("hot", 0.1, 4, "adam", 0.902),
    ("steady", 0.001, 4, "adam", 0.979),
)


def confusion(accuracy: float, chance: random.Random) -> str:
    """Draw which digits are taken for which."""
    cells = []
    for row in range(10):
        for column in range(10):
            share = accuracy if row == column else (1 - accuracy) * chance.random()
            cells.append(
                f"<rect x='{column * 24}' y='{row * 24}' width='23' height='23' "
                f"fill='#1f6b59' fill-opacity='{share:.2f}'/>"
            )
    return (
        "<svg xmlns='http://www.w3.org/2000/svg' width='240' height='240'>"
        f"<rect width='240' height='240' fill='#eef2f0'/>{''.join(cells)}</svg>"
    )


def learn(rate: float, best: float, seed: int) -> float:
    """Log what a training would; give the accuracy."""
    chance = random.Random(seed)
    accuracy = 0.1
    for epoch in range(EPOCHS):
        learned = 1 - math.exp(-(epoch + 1) * (0.1 + rate))
        accuracy = 0.1 + (best - 0.1) * learned + chance.gauss(0, 0.006)
        log_metric("loss", 2.3 * (1 - learned * best) + chance.random() * 0.05, step=epoch)
        log_metric("val loss", 2.3 * (1 - learned * best) + 0.1 + chance.random() * 0.1, step=epoch)
        log_metric("accuracy", accuracy, step=epoch)
        time.sleep(0.004)
        if epoch % 10 == 9:
            log_text(confusion(accuracy, chance), "confusion.svg", step=epoch)
    return accuracy


@step
def load() -> list[int]:
    print("read 1797 digits")
    time.sleep(0.1)
    return list(range(FOLDS))


@step
def prepare(fold: int) -> float:
    time.sleep(0.03 + 0.01 * (fold % 3))
    return fold / FOLDS


@step
def train(folds: list[float], rate: float) -> float:
    log_params({"rate": rate, "layers": 4, "optimizer": "adam"})
    return learn(rate, 0.97, seed=7)


@step
def calibrate(folds: list[float]) -> float:
    time.sleep(0.12)
    return sum(folds)


@step
def evaluate(accuracy: float, temperature: float) -> float:
    log_metric("test accuracy", accuracy)
    time.sleep(0.1)
    return accuracy


@step
def report(accuracy: float) -> str:
    return f"{accuracy:.1%} of the digits are read right"


@step
def check(folds: list[float]) -> list[float]:
    raise ValueError("fold 3 has 12 digits without a label")


@pipeline
def training(rate: float = 0.003):
    folds = prepare.map(load())
    report(evaluate(train(folds, rate), calibrate(folds)))


@pipeline
def checked(rate: float = 0.003):
    folds = check(prepare.map(load()))
    report(evaluate(train(folds, rate), calibrate(folds)))


def main() -> None:
    with suppress(ValueError):
        checked()
    training(rate=0.01)
    training(rate=0.003)
    for seed, (name, rate, layers, optimizer, best) in enumerate(RUNS):
        with start_run(name, experiment="digits", experiment_tracker=None) as run:
            run.log_params({"rate": rate, "layers": layers, "optimizer": optimizer})
            run.set_tag("data", "digits-1797")
            print(f"training {name} for {EPOCHS} epochs")
            accuracy = learn(rate, best, seed)
            run.log_table({"digit": list(range(10)), "right": [best] * 10}, "by digit.json")
            print(f"accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
