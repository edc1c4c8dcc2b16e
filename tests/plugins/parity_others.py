"""Which code, written for one of four other SDKs alone, has to give the same in a step?"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from parity_bodies import in_fork, in_threads, of, pixels, written

# Comet


@of("comet")
def comet_values() -> Any:
    import comet_ml

    experiment = comet_ml.start(project_name="mine", online=False)
    experiment.set_name("values")
    experiment.log_parameters({"opt": {"lr": 0.1}, "rate": 1})
    experiment.log_parameter("name", "sgd")
    for step in range(3):
        experiment.log_metric("loss", 1 / (1 + step), step=step, epoch=0)
    with experiment.train():
        experiment.log_metric("accuracy", 0.5, step=4)
    experiment.log_metrics({"a": 1, "b": 2}, step=5)
    experiment.log_other("best", 3)
    experiment.add_tags(["mine", "yours"])
    experiment.end()


@of("comet")
def comet_media_and_files() -> Any:
    import comet_ml

    experiment = comet_ml.start(project_name="mine", online=False)
    experiment.log_histogram_3d([1.0, 2.0, 2.0], name="spread", step=1)
    experiment.log_html("<b>x</b>")
    experiment.log_table("rows.csv", [[1, "x"]], headers=["a", "b"])
    experiment.log_text("a sample", step=2)
    experiment.log_confusion_matrix([0, 1], [0, 1], file_name="matrix.json")
    experiment.log_curve("roc", [0, 1], [0, 1])
    experiment.log_model("net", written("net.bin", "weights"))
    experiment.log_code(code="pass", code_name="own.py")
    experiment.log_asset(written(), file_name="note.txt")
    experiment.end()


@of("comet")
def comet_what_it_collects() -> Any:
    import comet_ml

    experiment = comet_ml.start(project_name="mine", online=False)
    print("printed by the code")
    experiment.log_metric("loss", 1.0, step=0)
    experiment.end()


@of("comet")
def comet_loop_of_classes() -> Any:
    import comet_ml

    for number in range(3):
        experiment = comet_ml.OfflineExperiment(project_name="mine")
        experiment.log_parameter("number", number)
        experiment.log_metric("loss", number, step=number)
        experiment.end()


@of("comet")
def comet_answers() -> Any:
    import comet_ml

    experiment = comet_ml.start(project_name="mine", online=False)
    same = comet_ml.start(project_name="mine", online=False) is experiment
    running = comet_ml.get_running_experiment() is experiment
    experiment.end()
    return same, running


@of("comet")
def comet_disabled() -> Any:
    import comet_ml

    experiment = comet_ml.OfflineExperiment(project_name="mine", disabled=True)
    experiment.log_metric("never", 1.0)
    experiment.end()
    experiment = comet_ml.start(project_name="mine", online=False)
    experiment.log_metric("loss", 1.0, step=1)
    experiment.end()


@of("comet")
def comet_threads() -> Any:
    import comet_ml

    experiment = comet_ml.start(project_name="mine", online=False)
    in_threads(lambda number: experiment.log_metric(f"of_{number}", number, step=1))
    experiment.end()


@of("comet")
def comet_forked_child() -> Any:
    import comet_ml

    experiment = comet_ml.start(project_name="mine", online=False)
    experiment.log_metric("parent", 1.0, step=1)
    in_fork(lambda: experiment.log_metric("child", 1.0, step=1))
    experiment.end()


# Neptune


@of("neptune")
def neptune_seeded_random_numbers() -> Any:
    import neptune

    random.seed(0)
    run = neptune.init_run(capture_hardware_metrics=False)
    run["drawn"] = random.random()
    run.stop()
    neptune.init_run(capture_hardware_metrics=False).stop()
    return random.random()


@of("neptune")
def neptune_fields_series_and_files() -> Any:
    import neptune

    run = neptune.init_run(capture_hardware_metrics=False, capture_stdout=False)
    run["rate"], run["name"] = 0.5, "sgd"
    run["opt"] = {"beta": 0.5, "deep": {"x": 1}}
    for step in range(4):
        run["train/loss"].append(1 / (1 + step), step=step)
    run["many"].extend([1.0, 2.0, 3.0])
    run["words"].append("a text")
    run["note"].upload(written(), wait=True)
    run["sys/tags"].add(["one", "two"])
    run.stop()


@of("neptune")
def neptune_arguments_of_init() -> Any:
    import neptune

    run = neptune.init_run(
        name="said", description="words", tags=["a", "b"], capture_hardware_metrics=False,
        source_files=[written("train.py", "pass")],
    )  # fmt: skip
    run["a"] = 1
    run.stop()


@of("neptune")
def neptune_what_it_collects() -> Any:
    import neptune

    run = neptune.init_run(monitoring_namespace="watched")
    print("printed by the code")
    run["a"] = 1
    run.stop()


@of("neptune")
def neptune_loop() -> Any:
    import neptune

    for rate in (0.1, 0.2):
        run = neptune.init_run(name=f"rate-{rate}", capture_hardware_metrics=False)
        run["rate"] = rate
        run["loss"].append(rate, step=1)
        run.stop()


@of("neptune")
def neptune_two_at_once() -> Any:
    import neptune

    first = neptune.Run(name="first", capture_hardware_metrics=False)
    second = neptune.Run(name="second", capture_hardware_metrics=False)
    first["a"], second["b"] = 1, 2
    first.stop()
    second.stop()


@of("neptune")
def neptune_debug_mode() -> Any:
    import neptune

    run = neptune.init_run(mode="debug")
    run["never"] = 1
    run.stop()
    run = neptune.init_run(name="kept", capture_hardware_metrics=False)
    run["a"] = 1
    run.stop()


@of("neptune")
def neptune_threads() -> Any:
    import neptune

    run = neptune.init_run(capture_hardware_metrics=False)
    in_threads(lambda number: run[f"of/{number}"].append(number, step=1))
    run.stop()


@of("neptune")
def neptune_forked_child() -> Any:
    import neptune

    run = neptune.init_run(capture_hardware_metrics=False)
    run["parent"] = 1
    in_fork(lambda: run["child"].append(1.0, step=1))
    run.stop()


# Trackio


@of("trackio", name="its `name` and `group` are the tags")
def trackio_values() -> Any:
    import trackio

    trackio.init(project="mine", name="values", config={"rate": 0.1, "opt": {"beta": 0.5}})
    for step in range(3):
        trackio.log({"loss": 1 / (1 + step), "inner": {"a": step}}, step=step)
    trackio.log({"free": 1.0})
    trackio.log_system({"gpu": 0.5})
    trackio.finish()


@of("trackio", name="its `name` and `group` are the tags")
def trackio_media() -> Any:
    import trackio

    trackio.init(project="mine", name="media")
    trackio.log({"sample": trackio.Image(pixels())}, step=1)
    trackio.log({"rows": trackio.Table(columns=["a"], data=[[1], [2]])}, step=2)
    trackio.log({"spread": trackio.Histogram([1.0, 2.0, 2.0])}, step=3)
    trackio.log({"text": trackio.Markdown("# words")}, step=4)
    trackio.finish()


@of("trackio", name="its `name` and `group` are the tags")
def trackio_alert_and_saved_file() -> Any:
    import trackio

    trackio.init(project="mine", name="saved")
    trackio.log({"a": 1}, step=0)
    trackio.alert(title="title", text="text")
    saved = Path(str(trackio.save(written()))).name
    trackio.finish()
    return saved


@of("trackio", name="its `name` and `group` are the tags")
def trackio_loop_without_finish() -> Any:
    import trackio

    for rate in (0.1, 0.2, 0.3):
        trackio.init(project="mine", name=f"rate-{rate}", group="g", config={"rate": rate})
        trackio.log({"loss": rate})
    trackio.finish()


@of("trackio", name="its `name` and `group` are the tags")
def trackio_seeded_random_numbers() -> Any:
    import trackio

    random.seed(0)
    trackio.init(project="mine")
    trackio.log({"drawn": random.random()})
    trackio.init(project="mine")
    trackio.log({"drawn": random.random()})
    trackio.finish()


@of("trackio", name="its `name` and `group` are the tags")
def trackio_resumed() -> Any:
    import trackio

    runs = []
    for name, resume in (("a", "never"), ("a", "must"), ("b", "allow"), ("b", "allow")):
        runs.append(trackio.init(project="mine", name=name, resume=resume))
        trackio.log({"loss": len(runs)})
        trackio.finish()
    return [run.id == runs[0].id for run in runs], len({run.id for run in runs})


@of("trackio", name="its `name` and `group` are the tags")
def trackio_threads() -> Any:
    import trackio

    run = trackio.init(project="mine", name="threads")
    in_threads(lambda number: run.log({"of": number}, step=number))
    trackio.finish()


@of("trackio", name="its `name` and `group` are the tags")
def trackio_forked_child() -> Any:
    import trackio

    run = trackio.init(project="mine", name="forked")
    trackio.log({"parent": 1}, step=0)
    in_fork(lambda: run.log({"child": 2}, step=1))
    trackio.finish()


# TensorBoard


@of("tensorboard")
def tensorboard_values() -> Any:
    from tensorboardX import SummaryWriter

    with SummaryWriter() as writer:
        for step in range(4):
            writer.add_scalar("loss", 1 / (1 + step), step, walltime=1.79e9 + step)
        writer.add_image("sample", pixels(), 2, dataformats="HWC")
        writer.add_text("note", "words", 3)
        writer.add_histogram("spread", pixels().reshape(-1), 4)
        writer.add_pr_curve("curve", [0, 1], [0.1, 0.9], 5)


@of("tensorboard")
def tensorboard_scalars_of_one_plot() -> Any:
    from tensorboardX import SummaryWriter

    with SummaryWriter() as writer:
        for step in range(2):
            writer.add_scalars("loss", {"train": 1.0 * step, "test": 2.0 * step}, step)


@of("tensorboard")
def tensorboard_hyperparameters() -> Any:
    from tensorboardX import SummaryWriter

    with SummaryWriter() as writer:
        writer.add_hparams({"lr": 0.5, "name": "sgd"}, {"accuracy": 0.75})


@of("tensorboard")
def tensorboard_loop_with_comments() -> Any:
    from tensorboardX import SummaryWriter

    for rate in (1, 2, 3):
        with SummaryWriter(comment=f"-lr={rate}") as writer:
            writer.add_scalar("loss", rate, 1)


@of(
    "tensorboard",
    runs="A writer that names a folder of its own keeps it",
    series="its values are the run's, too",
)
def tensorboard_folders_of_its_own() -> Any:
    from tensorboardX import SummaryWriter

    for name in ("train", "valid"):
        with SummaryWriter(f"own/{name}") as writer:
            writer.add_scalar("loss", 0.5, 1)


@of("tensorboard")
def tensorboard_threads() -> Any:
    from tensorboardX import SummaryWriter

    with SummaryWriter() as writer:
        in_threads(lambda number: writer.add_scalar(f"of_{number}", number, 1))


@of("tensorboard")
def tensorboard_forked_child() -> Any:
    from tensorboardX import SummaryWriter

    writer = SummaryWriter()
    writer.add_scalar("parent", 1.0, 1)
    writer.flush()

    def log() -> None:
        with SummaryWriter(writer.logdir, filename_suffix=".child") as own:
            own.add_scalar("child", 2.0, 1)

    in_fork(log)
    writer.close()
