"""A run that an SDK alone has logged, imported and replayed elsewhere, is the same there.

It is imported again from where it went; what differs then is what the target's page lists.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import odd_runs
import pytest
from matrices import cut

from trackyard import Client
from trackyard.recovery.importing import ImportedRun

Point = tuple[float | None, str, int]


@attrs.frozen
class Seen:
    """What a project has of a run, in a form that can be compared."""

    status: str
    parent: str | None
    params: dict[str, Any]
    tags: dict[str, str]
    artifacts: dict[str, str]
    metrics: dict[str, list[Point]]


# What `trackyard import` calls the place where each SDK has written, and where each tracker has.
SOURCES = {
    "mlflow": "mlflow:sqlite:///{root}/mlflow.db",
    "wandb": "wandb:{root}/wandb",
    "comet": "comet:{root}",
    "neptune": "neptune:{root}",
    "tensorboard": "tensorboard:{root}/logs",
    "trackio": "trackio:{root}/trackio",
}
TARGETS = {
    "mlflow": "mlflow:sqlite:///{root}/target.db",
    "wandb": "wandb:{root}/.trackyard/runs",
    "comet": "comet:{root}/.trackyard/runs",
    "neptune": "neptune:{root}/.trackyard/runs",
    "tensorboard": "tensorboard:{root}/.trackyard/tensorboard",
    "trackio": "trackio:{root}/.trackyard/trackio",
}
TABLES = {
    "mlflow": 'tracking_uri = "sqlite:///{root}/target.db"',
    "wandb": 'mode = "offline"',
    "comet": 'mode = "offline"\nworkspace = "acme"',
    "neptune": 'mode = "offline"\nproject = "team/fraud"',
    "tensorboard": "",
    "trackio": "",
}


def in_milliseconds(point: Point) -> Point:
    return point[0], point[1], point[2] // 10**6 * 10**6


def in_a_database(point: Point) -> Point:
    step, value, moment = in_milliseconds(point)
    return step, "0.0" if value == "-0.0" else value, moment


def in_microseconds(point: Point) -> Point:
    return point[0], point[1], round(point[2] / 1000) * 1000


def finite(point: Point) -> Point | None:
    return point if math.isfinite(float(point[1])) else None


# What the page of each flavor lists: how points change, and which tags a tracker adds by itself.
POINTS: dict[str, Callable[[Point], Point | None]] = {
    "mlflow": in_a_database,
    "wandb": in_microseconds,
    "comet": in_milliseconds,
    "neptune": finite,
    "tensorboard": lambda point: point,
    "trackio": lambda point: point,
}
OWN_TAGS = {"mlflow": "mlflow.", "wandb": "wandb.", "comet": "comet."}


def expected(before: Seen, target: str) -> Seen:
    """Give what is known to come of a run on a target."""
    change = POINTS[target]
    metrics = {
        key: sorted(filter(None, map(change, points)), key=str)
        for key, points in before.metrics.items()
    }
    params = before.params
    if target == "mlflow":  # whose params are texts
        params = {key: str(value) for key, value in params.items()}
    return attrs.evolve(before, metrics=metrics, params=params)


def seen(rows: list[ImportedRun], target: str | None = None) -> dict[str, Seen]:
    """Look at runs that were imported, without the tags that the target adds by itself."""
    client, names = Client(), {row.id: row.run for row in rows}
    own = OWN_TAGS.get(target or "", "trackyard.")
    found = {}
    for row in rows:
        run = client.get_run(row.id)
        step = run.steps[0]
        metrics = {
            key: sorted(
                zip(curve.steps, map(repr, curve.values), curve.timestamps, strict=True), key=str
            )
            for key, curve in step.curves.items()
        }
        tags = {k: v for k, v in step.tags.items() if not k.startswith(("trackyard.", own))}
        artifacts = {
            name: hashlib.sha256(file.read_bytes()).hexdigest()
            for name, file in run.artifacts.items()
        }
        parent = names.get(run.parent_id or "", run.parent_id)
        found[run.name] = Seen(run.status, parent, run.all_params, tags, artifacts, metrics)
    return found


def differences(wanted: Seen, found: Seen) -> dict[str, Any]:
    """Give what one of two has alone, by field and key: whole runs are too long to be shown."""
    differ = {}
    for field, value in attrs.asdict(wanted).items():
        other = getattr(found, field)
        if not isinstance(value, dict):
            differ |= {field: (value, other)} if value != other else {}
            continue
        for key in value.keys() | other.keys():
            pair = value.get(key), other.get(key)
            if field == "metrics" and None not in pair and pair[0] != pair[1]:
                differ[f"metric {key}"] = [only_in(*pair), only_in(*pair[::-1])]
            elif pair[0] != pair[1]:
                differ[f"{field} {key}"] = pair
    return differ


def only_in(points: list[Point], others: list[Point]) -> tuple[int, list[Point]]:
    """Give how many points one curve has more than another, and the first that differ."""
    rest = list((Counter(points) - Counter(others)).elements())
    return len(rest), rest[:3]


@pytest.fixture(scope="session")
def natives(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """Give what an SDK has logged alone; it is made once."""
    made: dict[tuple[str, int], Path] = {}

    def native(flavor: str, points: int) -> Path:
        if (flavor, points) not in made:
            root = tmp_path_factory.mktemp(f"native-{flavor}")
            quiet = {"HOME": str(root), "COMET_LOGGING_CONSOLE": "ERROR", "WANDB_SILENT": "true"}
            command = [sys.executable, odd_runs.__file__, flavor, str(root), str(points)]
            subprocess.run(
                command, env={**os.environ, **quiet}, check=True, timeout=600, capture_output=True
            )
            made[flavor, points] = root
        return made[flavor, points]

    return native


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("TRACKYARD_", "COMET_", "NEPTUNE_", "TRACKIO_", "WANDB_")):
            monkeypatch.delenv(name)
    for name in ("CONTEXT", "PROGRESS", "WATCHDOG"):
        monkeypatch.setenv(f"TRACKYARD_{name}", "0")
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", "system-metrics")
    monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def pairs() -> Iterator[Any]:
    """Give all pairs: those that have each flavor as source and as target are slow."""
    for case in cut([*SOURCES], [*TARGETS]):
        is_first = not case.marks
        long = pytest.mark.long(reason="all 36 pairs, with 10,000 points")
        yield pytest.param(*case.values, marks=pytest.mark.slow if is_first else long)


@pytest.mark.parametrize(("source", "target"), [*pairs()])
def test_a_run_is_the_same_after_a_round_trip(
    source, target, natives, empty_store, tmp_path, monkeypatch, request
):
    is_long = request.node.get_closest_marker("long") is not None
    native = natives(source, 10_000 if is_long else 200)
    first, second = tmp_path / "first", tmp_path / "second"
    for root in (first, second):
        root.mkdir()
        (root / "trackyard.toml").touch()
    shutil.copyfile(empty_store, first / "target.db")
    (first / "trackyard.toml").write_text(
        f'[experiment_trackers.target]\nflavor = "{target}"\nstart_timeout = 60\n'
        f"flush_timeout = 60\n{TABLES[target].format(root=first)}\n"
        '[stacks.default]\nexperiment_trackers = ["target"]\n'
    )
    monkeypatch.chdir(first)
    rows = Client().import_runs(SOURCES[source].format(root=native), to="target")
    before = seen(rows, target)
    assert [(row.problem, row.delivered) for row in rows] == [("", True)] * 2

    monkeypatch.chdir(second)
    again = Client().import_runs(TARGETS[target].format(root=first))
    after = seen(again, target)

    assert sum(row.left for row in again) == 0
    assert len(before) == 2
    assert after.keys() == before.keys()
    for name, run in before.items():
        assert differences(expected(run, target), after[name]) == {}
    assert {row.id for row in again} == {row.id for row in rows}
