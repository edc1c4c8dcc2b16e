"""Which code, written for MLflow or W&B alone, has to give the same in a step?

Each body is a row of what the SDKs' users do. It runs in a folder of its own, knows nothing of
Trackyard, and returns what its own look-ups answer, which is compared, too.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs


@attrs.frozen
class Body:
    """One body.

    Attributes:
        sdk: The flavor.
        name: What it shows.
        code: It.
        differs: What may differ, as `runs` or a field of runs, each with the words of the flavor's
            page that say so.
        variables: Those that its process has.
    """

    sdk: str
    name: str
    code: Callable[[], Any]
    differs: Mapping[str, str]
    variables: Mapping[str, str]


BODIES: list[Body] = []


def of(
    sdk: str, variables: Mapping[str, str] | None = None, **differs: str
) -> Callable[[Any], Any]:
    """Take a function into the table.

    Args:
        sdk: The flavor.
        variables: Variables of its process.
        **differs: What may differ in a step, and which words of the flavor's page say so.
    """

    def note(code: Any) -> Any:
        name = code.__name__.removeprefix(f"{sdk}_")
        BODIES.append(Body(sdk, name, code, differs, variables or {}))
        return code

    return note


def bodies_of(sdk: str) -> list[Body]:
    """Give the bodies of a flavor.

    Args:
        sdk: The flavor.
    """
    return [body for body in BODIES if body.sdk == sdk]


def pixels() -> Any:
    """Give a small image."""
    import numpy

    return (numpy.arange(48) * 5).reshape(4, 4, 3).astype(numpy.uint8)


def _rows() -> Any:
    import numpy

    return numpy.arange(20.0).reshape(10, 2)


def written(name: str = "note.txt", text: str = "all is well") -> str:
    """Write a file, and give its name."""
    Path(name).write_text(text, encoding="utf-8")
    return name


def in_fork(code: Callable[[], object]) -> None:
    """Run code in a forked child that leaves as `multiprocessing`'s children do."""
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            code()
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)


def in_threads(code: Callable[[int], object]) -> None:
    """Run code in threads, with a number each."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(code, range(3)))


# MLflow


@of("mlflow")
def mlflow_values() -> Any:
    import mlflow

    with mlflow.start_run():
        mlflow.log_params({"rate": 0.1, "depth": 3})
        mlflow.log_param("name", "sgd")
        for step in range(4):
            mlflow.log_metric("loss", 1 / (1 + step), step=step)
        mlflow.log_metrics({"a": 1.5, "b": float("nan")}, step=2)
        mlflow.set_tag("team", "fraud")
        mlflow.set_tags({"stage": "draft", "mlflow.note.content": "a note"})
        mlflow.log_text("hello", "deep/note.txt")
        mlflow.log_dict({"a": 1}, "config.json")
        mlflow.log_artifact(written(), "kept")


@of("mlflow")
def mlflow_fluent_without_start_run() -> Any:
    import mlflow

    mlflow.log_metric("loss", 1.0, step=1)
    mlflow.log_param("rate", 1)
    return mlflow.active_run() is not None


@of("mlflow")
def mlflow_seeded_random_numbers() -> Any:
    import mlflow

    random.seed(0)
    with mlflow.start_run():
        mlflow.log_metric("drawn", random.random())
    mlflow.start_run()
    mlflow.end_run()
    return random.random()


@of("mlflow")
def mlflow_loop_of_named_runs() -> Any:
    import mlflow

    for depth in (2, 4, 8):
        with mlflow.start_run(run_name=f"depth-{depth}", tags={"depth": str(depth)}):
            mlflow.log_param("depth", depth)
            mlflow.log_metric("accuracy", 1 - 1 / depth)
    found = mlflow.search_runs(filter_string="tags.depth = '4'", output_format="list")
    return [(run.info.run_name, run.data.params) for run in found]


@of("mlflow")
def mlflow_answers_of_active_run() -> Any:
    import mlflow

    with mlflow.start_run(run_name="mine", description="words", tags={"k": "v"}):
        active = mlflow.active_run()
        mlflow.log_metric("loss", 0.5)
    last = mlflow.last_active_run()
    seen = [active.info.run_name, active.data.tags["k"], bool(active.info.user_id)]
    return [*seen, last.info.status, last.data.metrics, mlflow.active_run() is None]


@of("mlflow")
def mlflow_status_by_end_run() -> Any:
    import mlflow

    mlflow.start_run(run_name="ended")
    mlflow.log_metric("loss", 1.0)
    mlflow.end_run("KILLED")


@of("mlflow")
def mlflow_exception_outside() -> Any:
    import mlflow

    with suppress(ValueError), mlflow.start_run(run_name="raised"):
        mlflow.log_metric("loss", 1.0)
        raise ValueError("deliberate")


@of("mlflow")
def mlflow_nested_runs() -> Any:
    import mlflow

    with mlflow.start_run(run_name="parent") as parent:
        mlflow.log_metric("top", 1.0)
        for fold in range(2):
            with mlflow.start_run(run_name=f"fold-{fold}", nested=True) as child:
                mlflow.log_metric("score", fold)
                above = mlflow.get_parent_run(child.info.run_id)
                assert above.info.run_id == parent.info.run_id
                with mlflow.start_run(run_name=f"deep-{fold}", nested=True):
                    mlflow.log_metric("deep", fold)


@of("mlflow")
def mlflow_figures_images_tables_inputs() -> Any:
    import mlflow
    import pandas
    from matplotlib.figure import Figure

    frame = pandas.DataFrame({"a": [1, 2]})
    with mlflow.start_run(run_name="media") as run:
        mlflow.log_figure(Figure(), "plot.png")
        mlflow.log_image(pixels(), "sample.png")
        mlflow.log_image(pixels(), key="seen", step=2, synchronous=True)
        mlflow.log_table({"a": [1, 2]}, "rows.json")
        data = mlflow.data.from_pandas(frame, source="rows.csv", name="rows")
        mlflow.log_input(data, context="training")
    (known,) = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
    return known.dataset.name, known.dataset.digest, known.tags[0].value


@of("mlflow")
def mlflow_client_and_asynchronous_calls() -> Any:
    import mlflow

    client = mlflow.MlflowClient()
    with mlflow.start_run(run_name="client") as run:
        id_ = run.info.run_id
        client.log_metric(id_, "by_client", 1.0, step=3)
        client.log_param(id_, "p", "1")
        client.set_tag(id_, "t", "2")
        mlflow.log_metric("later", 2.0, step=4, synchronous=False)
        mlflow.log_params({"q": 1}, synchronous=False)
        mlflow.flush_async_logging()
        client.log_text(id_, "x", "by-client.txt")
    return [point.value for point in client.get_metric_history(id_, "later")]


@of("mlflow")
def mlflow_autologging_of_two_fits() -> Any:
    import mlflow
    from sklearn.linear_model import LinearRegression

    mlflow.sklearn.autolog(log_models=False, silent=True, log_datasets=False)
    try:
        for _ in range(2):
            LinearRegression().fit(_rows(), _rows()[:, 0])
    finally:
        mlflow.sklearn.autolog(disable=True, silent=True)


@of("mlflow")
def mlflow_models_and_the_registry() -> Any:
    import mlflow
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(_rows(), _rows()[:, 0])
    with mlflow.start_run(run_name="model") as run:
        logged = mlflow.sklearn.log_model(
            model, name="net", registered_model_name="fraud", pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
        )  # fmt: skip
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("fraud", "champion", 1)
    loaded = [f"runs:/{run.info.run_id}/net", "models:/fraud@champion", logged.model_uri]
    found = [float(mlflow.sklearn.load_model(uri).predict(_rows())[1]) for uri in loaded]
    return [round(value, 6) for value in found], client.get_model_version("fraud", "1").name


@of("mlflow")
def mlflow_traces() -> Any:
    import mlflow

    with mlflow.start_run(run_name="traced") as run, mlflow.start_span("outer") as span:
        span.set_inputs({"a": 1})
        with mlflow.start_span("inner"):
            pass
    mlflow.flush_trace_async_logging()
    mine = run.info.experiment_id
    found = mlflow.search_traces(locations=[mine], return_type="list")
    names = [sorted(span.name for span in trace.data.spans) for trace in found]
    sources = [trace.info.request_metadata.get("mlflow.sourceRun") for trace in found]
    return names, sources == [run.info.run_id]


@of("mlflow", experiment="its runs stay in the tracker's")
def mlflow_another_place() -> Any:
    import mlflow

    mlflow.set_experiment("mine")
    with mlflow.start_run(run_name="there"):
        mlflow.log_metric("loss", 1.0)
    known = mlflow.get_experiment_by_name("mine")
    found = mlflow.search_runs([known.experiment_id], output_format="list")
    return [run.info.run_name for run in found]


@of("mlflow")
def mlflow_system_metrics() -> Any:
    import mlflow

    mlflow.set_system_metrics_sampling_interval(0.2)
    mlflow.set_system_metrics_samples_before_logging(1)
    with mlflow.start_run(run_name="watched", log_system_metrics=True) as run:
        limit = time.monotonic() + 30
        client = mlflow.MlflowClient()
        while time.monotonic() < limit:
            names = client.get_run(run.info.run_id).data.metrics
            if any(name.startswith("system/") for name in names):
                return True
            time.sleep(0.1)
    return False


@of("mlflow", runs="alone, MLflow would make a run for each thread", series="land in its run")
def mlflow_threads() -> Any:
    import mlflow

    with mlflow.start_run(run_name="threads"):
        in_threads(lambda number: mlflow.log_metric(f"of_{number}", number))


@of("mlflow", runs="and for each forked child", series="land in its run")
def mlflow_forked_child() -> Any:
    import mlflow

    with mlflow.start_run(run_name="forked"):
        mlflow.log_metric("parent", 1.0)
        in_fork(lambda: mlflow.log_metric("child", 2.0))


@of("mlflow")
def mlflow_deleting_the_second_run() -> Any:
    import mlflow

    with mlflow.start_run(run_name="kept"):
        mlflow.log_metric("kept", 1.0)
    with mlflow.start_run(run_name="tried") as trial:
        mlflow.log_metric("tried", 2.0)
    mlflow.delete_run(trial.info.run_id)


# W&B


@of("wandb")
def wandb_config_and_rows() -> Any:
    import wandb

    run = wandb.init(project="mine", name="rows", config={"rate": 0.1, "opt": {"betas": [0.9]}})
    run.config.update({"late": True})
    for step in range(3):
        run.log({"loss": 1 / (1 + step), "inner": {"a": step}}, step=step)
    run.log({"a": 1}, commit=False)
    run.log({"b": 2, "odd": float("nan")})
    run.summary["best"] = 7
    run.finish()


@of("wandb")
def wandb_axes_and_summaries() -> Any:
    import wandb

    run = wandb.init(project="mine", name="axes")
    run.define_metric("loss", step_metric="epoch", summary="min")
    run.define_metric("valid/*", step_metric="epoch")
    run.define_metric("acc", summary="max")
    for number in range(3):
        run.log({"loss": 3 - number, "valid/a": number, "acc": number, "epoch": 10 * number})
    run.finish()


@of("wandb")
def wandb_media() -> Any:
    import wandb

    run = wandb.init(project="mine", name="media")
    run.log({"sample": wandb.Image(pixels(), caption="one"), "page": wandb.Html("<b>x</b>")})
    run.log({"several": [wandb.Image(pixels()), wandb.Image(pixels())]})
    run.log({"rows": wandb.Table(["a", "b"], [[1, "x"]])})
    run.log({"spread": wandb.Histogram([1.0, 2.0, 2.0])})
    table = wandb.Table(["label", "value"], [["a", 1], ["b", 2]])
    run.log({"bars": wandb.plot.bar(table, "label", "value", title="Bars")})
    run.finish()


@of("wandb")
def wandb_artifacts_models_and_files() -> Any:
    import wandb

    run = wandb.init(project="mine", name="files")
    run.save(written(), base_path=".")
    data = wandb.Artifact("data", type="dataset", metadata={"rows": 2})
    data.add_file(written("rows.csv", "a,b"))
    run.log_artifact(data, aliases=["latest", "best"])
    run.log_model(written("net.bin", "weights"), name="net")
    written("train.py", "pass")
    run.log_code(".", include_fn=lambda path: path.endswith("train.py"))
    run.alert("title", "text")
    run.finish()


@of("wandb")
def wandb_names_notes_and_tags_set_later() -> Any:
    import wandb

    run = wandb.init(project="mine", name="before", tags=["one"])
    run.name, run.notes = "after", "words"
    run.tags += ("two",)
    run.log({"a": 1})
    run.finish()


@of("wandb")
def wandb_arguments_of_init() -> Any:
    import wandb

    run = wandb.init(
        project="mine", name="said", notes="words", tags=["a"], group="mine", job_type="train",
        settings=wandb.Settings(x_stats_sampling_interval=1.0),
    )  # fmt: skip
    seen = [wandb.run is run, run.name, run.group, run.job_type, list(run.tags), run.notes]
    run.log({"a": 1})
    run.finish()
    return [*seen, wandb.run is None]


@of(
    "wandb",
    variables={
        "WANDB_NAME": "of-variables", "WANDB_NOTES": "words", "WANDB_TAGS": "e1,e2",
        "WANDB_RUN_GROUP": "mine", "WANDB_JOB_TYPE": "train",
    },
)  # fmt: skip
def wandb_variables() -> Any:
    import wandb

    run = wandb.init(project="mine")
    run.log({"a": 1})
    run.finish()


@of("wandb")
def wandb_disabled() -> Any:
    import wandb

    run = wandb.init(project="mine", mode="disabled", name="nothing")
    run.log({"never": 1})
    run.finish()
    run = wandb.init(project="mine", name="something")
    run.log({"a": 1})
    run.finish()


@of("wandb")
def wandb_console() -> Any:
    import wandb

    run = wandb.init(project="mine", name="printed")
    print("printed by the code")
    run.log({"a": 1})
    run.finish()


@of("wandb")
def wandb_loop() -> Any:
    import wandb

    for rate in (0.1, 0.2, 0.3):
        wandb.init(project="mine", name=f"rate-{rate}", config={"rate": rate})
        for epoch in range(3):
            wandb.log({"loss": rate * 10 + epoch})
        wandb.finish()


@of("wandb")
def wandb_two_at_once() -> Any:
    import wandb

    # They are short: whether the machine is measured meanwhile is a matter of luck.
    given = {"reinit": "create_new", "settings": {"x_disable_stats": True}}
    first = wandb.init(project="mine", name="first", **given)
    second = wandb.init(project="mine", name="second", **given)
    for step in range(2):
        first.log({"a": step})
        second.log({"b": 10 * step})
    second.finish()
    first.finish()


@of("wandb")
def wandb_seeded_random_numbers() -> Any:
    import wandb

    random.seed(0)
    run = wandb.init(project="mine")
    run.log({"drawn": random.random()})
    run.finish()
    wandb.init(project="mine").finish()
    return random.random()


@of("wandb")
def wandb_exit_code() -> Any:
    import wandb

    with suppress(ValueError), wandb.init(project="mine", name="raised") as run:
        run.log({"a": 1})
        raise ValueError("deliberate")
    wandb.init(project="mine", name="said").finish(exit_code=3)


@of("wandb")
def wandb_threads() -> Any:
    import wandb

    run = wandb.init(project="mine", name="threads")
    lock = threading.Lock()

    def log(_: int) -> None:
        with lock:
            run.log({"of": 0.5})  # alike, since the threads come in any order

    in_threads(log)
    run.finish()


@of("wandb", series="rows of a forked child have steps of their own count")
def wandb_forked_child() -> Any:
    import wandb

    run = wandb.init(project="mine", name="forked")
    run.log({"parent": 1})
    in_fork(lambda: run.log({"child": 2}))
    run.log({"parent": 3})
    run.finish()
