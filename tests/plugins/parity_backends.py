"""What does each SDK's own backend hold, as SDKs alone and tracked steps leave it?

It is read from the files of the backend itself: MLflow's store, W&B's `.wandb` files, Comet's
archives, Neptune's logs of operations, Trackio's databases, TensorBoard's event files. Each run is
a dict of `name`, `status` and fields that are dicts themselves; `series` have lists of points.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

Stored = dict[str, Any]

# Numbers that SDKs alone make up for runs without a name.
_NAMELESS = re.compile(r"[a-z]+-[a-z]+-\d+|dainty-.*")


def digest(path: Path) -> str:
    """Give what tells a file's content.

    Args:
        path: The file.
    """
    if not path.is_file():
        return "none"
    content = path.read_bytes()
    if path.name == "requirements.txt":  # W&B lists what is installed in any order
        content = b"".join(sorted(content.splitlines(keepends=True)))
    return hashlib.sha256(content).hexdigest()[:12]


def of_mlflow(folder: Path, server: str = "") -> list[Stored]:
    """Read MLflow's store.

    Args:
        folder: Where `mlflow.db` is.
        server: Where runs are instead, in experiments that are named after the folder.
    """
    import mlflow

    uri = server or f"sqlite:///{folder}/mlflow.db"
    client = mlflow.MlflowClient(uri, uri)
    of_body = f"name LIKE '%{folder.parent.parent.name}-{folder.name}'" if server else None
    found = client.search_experiments(filter_string=of_body)
    experiments = {each.experiment_id: each.name for each in found}
    experiments |= {id_: name.split("@")[0] for id_, name in experiments.items()}
    runs = _in_order(client.search_runs([*experiments]))
    return [
        _mlflow_run(client, run, experiments[run.info.experiment_id])
        for run in runs
        # But for the run of the pipeline itself.
        if "trackyard.pipeline" not in run.data.tags or "trackyard.step" in run.data.tags
    ]


def _in_order(runs: list[Any]) -> list[Any]:
    """Give runs of MLflow's as they began; those of a search all begin with the one above them."""
    above = {run.info.run_id: run.data.tags.get("mlflow.parentRunId") for run in runs}

    def key(run: Any) -> tuple[object, ...]:
        depth, id_ = 0, run.info.run_id
        while id_ := above.get(id_):
            depth += 1
        values = sorted(run.data.params.items()), sorted(run.data.metrics.items())
        return run.info.start_time, depth, *values

    return sorted(runs, key=key)


def _mlflow_run(client: Any, run: Any, experiment: str) -> Stored:
    id_, name = run.info.run_id, run.info.run_name
    files: dict[str, str] = {}
    waiting = [""]
    while waiting:
        for one in client.list_artifacts(id_, waiting.pop()):
            if one.is_dir:
                waiting.append(one.path)
            elif not one.path.startswith(("trackyard/", "console")):
                path = Path(client.download_artifacts(id_, one.path))
                files[re.sub(r"[0-9a-f-]{36}|\d{13}", "*", one.path)] = digest(path)
    tags = {k: v for k, v in run.data.tags.items() if k not in ("mlflow.runName",)}
    tags.pop("mlflow.parentRunId", None)
    tags.pop("mlflow.log-model.history", None)
    return {
        "name": None if _NAMELESS.fullmatch(name) else name,
        "status": run.info.status,
        "has_user": bool(run.info.user_id),
        "experiment": {"name": experiment},
        "params": dict(run.data.params),
        "tags": tags,
        "series": {
            key: [[p.step, repr(p.value)] for p in client.get_metric_history(id_, key)]
            for key in run.data.metrics
            if not key.startswith("system/")
        },
        "system": {"is_there": any(key.startswith("system/") for key in run.data.metrics)},
        "files": files,
        "inputs": {d.dataset.name: d.dataset.digest for d in run.inputs.dataset_inputs},
        "models": {"count": len(run.outputs.model_outputs if run.outputs else ())},
    }


def of_wandb(folder: Path) -> list[Stored]:
    """Read W&B's files of runs.

    Args:
        folder: Where they are.
    """
    found = [path for path in folder.rglob("*.wandb") if "native" not in path.parts]
    runs = [_wandb_run(path) for path in found if path.name != "calls.wandb"]
    return sorted(runs, key=lambda run: run.pop("_started"))


def _wandb_run(path: Path) -> Stored:
    from trackyard_wandb.logfile import read_log
    from trackyard_wandb.records import items_of, parse

    run: Stored = {"name": None, "status": "running", "series": {}, "config": {}, "summary": {}}
    run |= {"files": {}, "artifacts": {}, "axes": {}, "said": {}, "found": {}, "console": {}}
    run["_started"] = 0.0
    for data, _ in read_log(path):
        record = parse(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            _note_run(run, record.run, items_of)
        elif kind == "config":
            run["config"] |= items_of(record.config.update)
        elif kind == "history":
            row = items_of(record.history.item)
            for key, value in row.items():
                if key not in ("_timestamp", "_runtime", "_step", "trackyard_step"):
                    run["series"].setdefault(key, []).append([row.get("_step"), _plain(value)])
        elif kind == "summary":
            run["summary"] |= items_of(record.summary.update)
        elif kind == "metric":
            name = record.metric.name or record.metric.glob_name
            goals = (record.metric.summary.min, record.metric.summary.max)
            run["axes"][name] = [record.metric.step_metric, *goals]
        elif kind == "artifact":
            one = record.artifact
            run["artifacts"][re.sub(r"run-\w+-", "run-*-", f"{one.type}/{one.name}")] = [
                sorted(one.aliases), sorted(entry.path for entry in one.manifest.contents),
            ]  # fmt: skip
        elif kind == "files":
            for file in record.files.files:
                if not file.path.startswith(("media/", "wandb-", "output")):
                    run["files"][file.path] = digest(path.parent / "files" / file.path)
        elif kind == "output_raw":
            run["console"][record.output_raw.line.strip()] = True
        elif kind in ("stats", "environment", "alert"):
            run["found"][kind] = True
        elif kind == "exit":
            run["status"] = record.exit.exit_code
    for key in ("_wandb", "_runtime", "_timestamp", "_step"):
        run["config"].pop(key, None)
        run["summary"].pop(key, None)
    run["summary"] = {key: _plain(value) for key, value in run["summary"].items()}
    run["console"] = {k: v for k, v in run["console"].items() if k.startswith("printed")}
    return run


def _note_run(run: Stored, record: Any, items_of: Callable[[Any], Any]) -> None:
    run["_started"] = run["_started"] or record.start_time.ToMicroseconds()
    name = record.display_name
    run["name"] = name if name and not _NAMELESS.fullmatch(name) else run["name"]
    run["config"] |= items_of(record.config.update)
    said = {"notes": record.notes, "group": record.run_group, "job": record.job_type}
    run["said"] |= {key: value for key, value in said.items() if value}
    run["said"] |= {f"tag {tag}": True for tag in record.tags}


def _plain(value: Any) -> Any:
    """Write a value without what is made up anew each time, such as names of files."""
    if isinstance(value, dict):
        left_out = ("path", "artifact_path", "_latest_artifact_path", "size", "filenames")
        return {key: _plain(inner) for key, inner in value.items() if key not in left_out}
    return "nan" if isinstance(value, float) and value != value else value


def of_comet(folder: Path) -> list[Stored]:
    """Read Comet's archives.

    Args:
        folder: Where they are.
    """
    runs = []
    for path in folder.rglob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            lines = archive.read("messages.json").decode().splitlines()
            meta = json.loads(archive.read("experiment.json"))
            names = set(archive.namelist())
            run = _comet_run([json.loads(line) for line in lines], archive, names)
            run["tags"] = dict.fromkeys(meta.get("tags") or [], True)
            runs.append((meta.get("start_time", 0), run))
    return [run for _, run in sorted(runs, key=lambda one: one[0])]


def _comet_run(messages: list[Any], archive: zipfile.ZipFile, names: set[str]) -> Stored:
    run: Stored = {"name": None, "status": None, "series": {}, "params": {}, "others": {}}
    run |= {"files": {}, "found": {}, "console": {}}
    for message in messages:
        payload, kind = message["payload"], message["type"]
        if kind == "metric_msg":
            metric = payload["metric"]
            key = f"{payload.get('context') or ''}|{metric['metricName']}"
            if not key.startswith("|sys.") and "process duration" not in key:
                point = [metric["step"], metric.get("epoch"), metric["metricValue"]]
                run["series"].setdefault(key, []).append(point)
        elif kind == "parameter_msg":
            param = payload.get("param") or payload["params"]
            if param["source"] != "cli":  # the command's own arguments
                run["params"][param["paramName"]] = param["paramValue"]
        elif kind == "log_other":
            run["others"][payload["key"]] = str(payload["value"])
        elif kind == "file_upload":
            options = payload["additional_params"]
            name = options.get("fileName") or options.get("figName") or ""
            is_there = payload["file_path"] in names
            content = archive.read(payload["file_path"]) if is_there else b""
            what = hashlib.sha256(content).hexdigest()[:12]
            if payload["upload_type"] not in ("source_code", "git-patch"):
                run["files"][f"{payload['upload_type']}:{name}"] = what
            run["found"][payload["upload_type"]] = True
        elif kind == "standard_output":
            run["console"] |= {
                line.strip(): True
                for line in payload["output"].splitlines()
                if line.startswith("printed")
            }
        else:
            run["found"][kind] = True
    for own in ("offline_experiment", "Created from", "hasNestedParams", "Name"):
        run["others"].pop(own, None)
    run["params"] = {k: v for k, v in run["params"].items() if not k.startswith("curr_")}
    return run


def of_neptune(folder: Path) -> list[Stored]:
    """Read Neptune's logs of operations.

    Args:
        folder: Where they are.
    """
    runs = []
    for place in folder.rglob("run__*"):
        if not place.is_dir() or "native" in place.parts:
            continue
        run: Stored = {"name": None, "status": None, "series": {}, "fields": {}, "files": {}}
        run |= {"tags": {}, "texts": {}}
        started = 0.0
        for path in sorted(place.rglob("data-*.log")):
            for line in path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                started = started or entry.get("at") or 0.0
                _note_operation(run, entry["obj"])
        runs.append((started or place.stat().st_mtime, run))
    return [run for _, run in sorted(runs, key=lambda one: one[0])]


def _note_operation(run: Stored, operation: Any) -> None:
    path = re.sub(r"monitoring/[0-9a-f]{8}", "monitoring/*", "/".join(operation["path"]))
    kind = operation["type"]
    if path.startswith(("trackyard/", "watched/")):
        if path.startswith("watched/"):
            run["fields"][path] = "*"
        return
    if kind == "LogFloats" and not path.startswith("monitoring/"):
        points = run["series"].setdefault(path, [])
        for value in operation["values"]:  # Neptune counts where no step is given
            step = float(len(points)) if value["step"] is None else float(value["step"])
            points.append([step, value["value"]])
    elif kind.startswith("Assign"):
        of_process = ("pid", "tid", "hostname", "sys/", "monitoring/")
        run["fields"][path] = "*" if path.startswith(of_process) else str(operation["value"])
        if path in ("sys/name", "sys/description"):
            run["fields"][path] = operation["value"]
            if operation["value"] in ("", "Untitled"):
                del run["fields"][path]
    elif kind == "AddStrings":
        run["tags"] |= dict.fromkeys(operation["values"], True)
    elif kind == "LogStrings":
        run["texts"] |= {
            f"{path.rpartition('/')[2]}: {value['value']}": True
            for value in operation["values"]
            if not path.startswith("monitoring/") or value["value"].startswith("printed")
        }
    elif kind.startswith("Upload"):
        run["files"][path] = operation.get("ext") or kind


def of_trackio(folder: Path) -> list[Stored]:
    """Read Trackio's databases.

    Args:
        folder: Where they are.
    """
    runs: dict[str, Stored] = {}
    for path in sorted(folder.rglob("*.db")):
        if path.name == "mlflow.db" or "store" in path.name:
            continue
        with closing(sqlite3.connect(path)) as connection:
            tables = {n for (n,) in connection.execute("SELECT name FROM sqlite_master")}
            if "metrics" not in tables:
                continue
            _note_trackio(runs, connection, path.parent, tables)
    return sorted(runs.values(), key=lambda run: run.pop("_first"))


def _note_trackio(runs: dict[str, Stored], connection: Any, home: Path, tables: set[str]) -> None:
    rows = "SELECT run_id, run_name, step, timestamp, metrics FROM metrics ORDER BY id"
    for id_, name, step, time, text in connection.execute(rows):
        empty: Stored = {"name": name, "status": None, "series": {}, "config": {}, "found": {}}
        run = runs.setdefault(id_, {**empty, "_first": time})
        for key, value in json.loads(text).items():
            if key != "console.log":
                run["series"].setdefault(key, []).append([step, _trackio_value(value, home)])
    for id_, text in connection.execute("SELECT run_id, config FROM configs"):
        if id_ in runs:
            config = json.loads(text)
            kept = {k: v for k, v in config.items() if not k.startswith("_") and k != "tags"}
            runs[id_]["config"] = kept
    for table in ("alerts", "system_metrics"):
        if table in tables:
            for (id_,) in connection.execute(f"SELECT run_id FROM {table}"):
                if id_ in runs:
                    runs[id_]["found"][table] = True


def _trackio_value(value: Any, home: Path) -> Any:
    if not isinstance(value, dict):
        return value
    path = value.get("file_path")
    kept = {k: v for k, v in value.items() if k not in ("file_path", "caption")}
    return kept | ({"file": digest(home / "media" / path)} if path else {})


def of_tensorboard(folder: Path) -> list[Stored]:
    """Read event files, as TensorBoard does: each folder that holds some is a run.

    Args:
        folder: Where they are.
    """
    places = {path.parent for path in folder.rglob("*tfevents*")}
    runs = [_tensorboard_run(place) for place in sorted(places) if "native" not in place.parts]
    return sorted(runs, key=lambda run: json.dumps(run["series"], sort_keys=True))


def _tensorboard_run(place: Path) -> Stored:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    guidance = {"scalars": 0, "images": 0, "tensors": 0, "histograms": 0}
    reader = EventAccumulator(str(place), size_guidance=guidance).Reload()
    tags = reader.Tags()
    texts = {}
    for tag in tags["tensors"]:
        if not tag.startswith("tags/"):
            contents = [t.tensor_proto.SerializeToString() for t in reader.Tensors(tag)]
            texts[tag] = hashlib.sha256(b"".join(contents)).hexdigest()[:12]
    return {
        "name": None,
        "status": None,
        "series": {
            tag: [[point.step, point.value] for point in reader.Scalars(tag)]
            for tag in tags["scalars"]
        },
        "images": {
            tag: [
                hashlib.sha256(image.encoded_image_string).hexdigest()[:12]
                for image in reader.Images(tag)
            ]
            for tag in tags["images"]
        },
        "histograms": {tag: len(reader.Histograms(tag)) for tag in tags["histograms"]},
        "texts": texts,
    }


READERS: dict[str, Callable[[Path], list[Stored]]] = {
    "mlflow": of_mlflow,
    "wandb": of_wandb,
    "comet": of_comet,
    "neptune": of_neptune,
    "trackio": of_trackio,
    "tensorboard": of_tensorboard,
}


def differences(alone: list[Stored], tracked: list[Stored]) -> Iterator[tuple[str, str]]:
    """Give what a step has not as the SDK alone has it: the field, and what is wrong there.

    What a step has beside that, such as tags of Trackyard's, is none, but for points and runs.

    Args:
        alone: The runs that the SDK alone has made.
        tracked: Those of the step.
    """
    if len(alone) != len(tracked):
        yield "runs", f"{len(alone)} alone, {len(tracked)} in a step"
    for number, (ours, theirs) in enumerate(zip(alone, tracked, strict=False)):
        for series in (ours["series"], theirs["series"]):  # of threads, in any order
            series |= {key: sorted(points, key=repr) for key, points in series.items()}
        for field, value in ours.items():
            if field == "name" and value is None:
                continue
            found = theirs.get(field)
            if isinstance(value, dict) and isinstance(found, dict):
                lacking = {k: v for k, v in value.items() if found.get(k, "lacking") != v}
                if lacking:
                    there = {key: found.get(key, "lacking") for key in lacking}
                    yield field, f"run {number}: {lacking} alone, {there} in a step"
            elif value != found:
                yield field, f"run {number}: {value} alone, {found} in a step"
        extra = set(theirs["series"]) - set(ours["series"])
        if extra:
            yield "series", f"run {number}: {sorted(extra)} in a step only"
