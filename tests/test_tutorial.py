"""Does the tutorial's transcript show what its commands write?

It is written anew by `REFRESH_GOLDEN=1 uv run pytest tests/test_tutorial.py`.
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from trackyard.registry.starting import look_around

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/tutorial/index.md"
golden = SimpleNamespace(**runpy.run_path(str(ROOT / "core/tests/modules/golden.py")))
RUN_NAME = re.compile(r"fitting-\d{8}-\d{6}-[0-9a-f]{4}")
BLOCK = re.compile(r"^```text\n\$ (trackyard [^\n]*)\n.*?^```$", re.MULTILINE | re.DOTALL)
# In a table of seconds there is no unit behind the number.
SECONDS = [(re.compile(r"(?<=finished  )\d+\.\d(?= )"), "0.1")]
SECONDS += [(re.compile(r"^(seconds +)\d+\.\d+( +)\d+\.\d+", re.MULTILINE), r"\g<1>0.1\g<2>0.1")]
SECONDS += [(re.compile(r"^(seconds +)\d+\.\d+", re.MULTILINE), r"\g<1>0.1")]


@pytest.fixture
def project(mlflow_project, monkeypatch):
    """Give an empty project whose store is ready, without what the machine's user has set."""
    for name in [name for found in look_around() for name in found.variables]:
        monkeypatch.delenv(name)  # `init` takes the flavors whose variables are set
    monkeypatch.delenv("TRACKYARD_HOME")
    monkeypatch.setenv("TRACKYARD_PROGRESS", "plain")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    mlflow_project.new_store(mlflow_project.root / ".trackyard" / "mlflow.db")
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (mlflow_project.root / "train.py").write_text(program)
    yield mlflow_project
    sys.modules.pop("train", None)


@pytest.mark.slow
def test_transcript_is_what_the_commands_write(project):
    names: dict[str, str] = {}
    page = PAGE.read_text(encoding="utf-8")

    def written(found):
        line = found[1]
        for actual, shown in names.items():
            line = line.replace(shown, actual)
        came = golden.run_command(*shlex.split(line)[1:], on_terminal=True)
        for name in RUN_NAME.findall(came.out):
            names.setdefault(name, f"fitting-20260102-030405-{len(names) + 1:04}")
        return f"```text\n$ {found[1]}\n{_scrubbed(came.out, names, project.root)}```"

    transcript = BLOCK.sub(written, page)

    assert len(names) == 2
    if os.environ.get("REFRESH_GOLDEN"):
        PAGE.write_text(transcript, encoding="utf-8")
    assert transcript == PAGE.read_text(encoding="utf-8")


def _scrubbed(text, names, root):
    for actual, shown in names.items():
        text = text.replace(actual, shown)
    text = text.replace(str(root), "/projects/lines")
    for pattern, new in [*golden._REPLACED, *SECONDS]:
        text = pattern.sub(new, text)
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines()) + "\n"
