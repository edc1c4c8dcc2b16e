"""Does code that was written for an SDK give in a step what it gives alone, value by value?

All bodies of an SDK run in one process for each way, since importing an SDK costs seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import parity_others  # noqa: F401 - it fills the table
import pytest
from parity_backends import READERS, differences
from parity_bodies import BODIES, bodies_of

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "tests/plugins/parity_program.py"
WHOLE = pytest.mark.long(reason="some 60 bodies alone, on threads and on processes")
# Enough of each SDK for `slow`: values, and runs beside the first one.
SOME = ("values", "config_and_rows", "fields_series_and_files", "loop")


def cases():
    for sdk in READERS:
        yield pytest.param(sdk, "thread", "some", marks=pytest.mark.slow(takes_long=True))
        with_servers = ("server", "late") if sdk == "mlflow" else ()
        for way in ("thread", "process", *with_servers):
            yield pytest.param(sdk, way, "all", marks=WHOLE)


def names(sdk, part):
    every = [body.name for body in bodies_of(sdk)]
    return every if part == "all" else [name for name in every if name.startswith(SOME)]


def ran(folder, empty_store, sdk, way, part, server=""):
    """Run bodies in a process of their own; gives what came of each."""
    root = folder / way
    # SDKs' own may be held for a call that an earlier test has left alone: `WANDB_DIR` leads away.
    left_out = ("COVERAGE_", "GIT_", "WANDB_", "COMET_", "NEPTUNE_", "TRACKIO_", "MLFLOW_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(folder), "SERVER": server}
    environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
    done = subprocess.run(
        [sys.executable, str(PROGRAM), sdk, way, str(root), str(empty_store), *names(sdk, part)],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((root / "found.json").read_text())


def wrong_in(sdk, body, alone, tracked):
    """Say what a step has not as the SDK alone has it, but for what the flavor's page names."""
    if alone["error"] or tracked["error"]:
        return [alone["error"] or tracked["error"]]
    found = list(differences(alone["runs"], tracked["runs"]))
    if alone["answers"] != tracked["answers"]:
        found.append(("answers", f"{alone['answers']} alone, {tracked['answers']} in a step"))
    return [f"{field}: {what}" for field, what in found if field not in body.differs]


@pytest.mark.parametrize(("sdk", "way", "part"), list(cases()))
def test_a_step_has_what_the_sdk_alone_makes_of_the_same_code(
    tmp_path, empty_store, request, sdk, way, part
):
    is_served = way in ("server", "late")
    server = request.getfixturevalue("mlflow_server").url if is_served else ""
    alone = ran(tmp_path, empty_store, sdk, "alone", part)
    tracked = ran(tmp_path, empty_store, sdk, way, part, server)
    wrong = {
        body.name: found
        for body in bodies_of(sdk)
        if body.name in alone
        and (found := wrong_in(sdk, body, alone[body.name], tracked[body.name]))
    }

    assert wrong == {}, json.dumps(wrong, indent=1)


def test_what_may_differ_stands_on_the_flavors_page():
    for body in BODIES:
        page = (ROOT / f"docs/flavors/{body.sdk}.md").read_text(encoding="utf-8")
        for words in body.differs.values():
            assert words in page, f"docs/flavors/{body.sdk}.md does not say {words!r} ({body.name})"
    listed = tomllib.loads((ROOT / "benchmarks/programs.toml").read_text(encoding="utf-8"))
    for sdk, differs in [*listed["differs"].items(), *_of_programs(listed["programs"])]:
        page = (ROOT / f"docs/flavors/{sdk}.md").read_text(encoding="utf-8")
        assert [words for words in differs.values() if words not in page] == [], sdk


def _of_programs(programs):
    return [(program["sdk"], program.get("differs", {})) for program in programs]
