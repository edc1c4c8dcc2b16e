"""Does a notebook, in a real kernel, show what it should, and keep what its cells print?"""

from __future__ import annotations

import os
import sys
from textwrap import dedent

import pytest

from trackyard import Client

pytestmark = pytest.mark.slow

CELLS = [
    """
    import os, subprocess, sys
    import trackyard
    from trackyard import Client, log_metric, pipeline, step

    @step(experiment_tracker="kept")
    def train(rate: float) -> float:
        print("printed in", "a step")
        print("to stderr", file=sys.stderr)
        for number in range(100):
            log_metric("<b>loss", rate / (number + 1), step=number)
        return rate

    @pipeline
    def training(rate: float = 0.1):
        train(rate)
    """,
    "training",
    "ran = training(rate=0.2)",
    """
    run = trackyard.start_run("over <cells>", experiment_tracker="kept")
    print("first cell")
    """,
    """
    print("second cell")
    run.log_metric("loss", 1.0, step=0)
    run.end()
    """,
    "Client().get_run(ran.name)",
    "Client().compare_runs(ran.name, 'over <cells>')",
    "Client().list_runs()",
    "Client().doctor()",
    "Client().sync()",
]
TRACKER = '''
from trackyard.contract import flavor, hookimpl

@flavor
class Kept:
    """Keep nothing, and have a page for each run."""

    @hookimpl
    def tracker_start_run(self, run):
        pass

    @hookimpl
    def tracker_url(self, run):
        return f"https://tracker.test/{run.id}"
'''
CONFIGURATION = """
[experiment_trackers.kept]
flavor = "kept:Kept"
start_timeout = 120
flush_timeout = 120

[stacks.default]
experiment_trackers = []
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("notebook")
    (root / "trackyard.toml").write_text(CONFIGURATION)
    (root / "kept.py").write_text(TRACKER)
    return root


@pytest.fixture(scope="module")
def outputs(project):
    """What each cell has put out: of each output its markup, its text, and what went to stderr."""
    import nbformat
    from nbclient import NotebookClient

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TRACKYARD_")]:
            patch.delenv(name)
        patch.setenv("TRACKYARD_DISABLE_PLUGINS", "system-metrics")
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        # The kernel of this interpreter, whichever others the machine has.
        kernels = project / "jupyter" / "kernels" / "python3"
        kernels.mkdir(parents=True)
        command = f'["{sys.executable}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"]'
        (kernels / "kernel.json").write_text(
            f'{{"argv": {command}, "display_name": "Python", "language": "python"}}'
        )
        patch.setenv("JUPYTER_PATH", str(project / "jupyter"))
        cells = [nbformat.v4.new_code_cell(dedent(cell)) for cell in CELLS]
        notebook = nbformat.v4.new_notebook(cells=cells)
        resources = {"metadata": {"path": str(project)}}
        NotebookClient(notebook, timeout=120, resources=resources).execute()
    return [cell.outputs for cell in notebook.cells]


def markup(cell):
    return "".join(one.data.get("text/html", "") for one in cell if "data" in one)


def red(cell):
    return "".join(one.text for one in cell if one.get("name") == "stderr")


def test_progress_is_a_table_that_changes_and_no_red_text(outputs):
    shown = markup(outputs[2])

    assert "✓" in shown
    assert '<td><a href="https://tracker.test/' in shown
    assert "&lt;b&gt;loss=0.002" in shown
    assert shown.count("<table>") == 1, "the table is written again, not below itself"
    assert red(outputs[2]) == "to stderr\n"
    assert "https://tracker.test/" in markup(outputs[3])
    assert red(outputs[3]) == ""


def test_pipeline_shows_its_graph(outputs):
    assert ">train</text>" in markup(outputs[1])


def test_runs_show_curves_with_axes_and_names_as_links(outputs):
    run, comparison, runs = (markup(outputs[index]) for index in (5, 6, 7))

    assert "<polyline" in run
    assert ">step</text>" in run
    assert '<a href="https://tracker.test/' in run
    assert ">over &lt;cells&gt;</text>" in comparison or "over &lt;cells&gt;</a>" in comparison
    assert "over &lt;cells&gt;</a>" in runs


def test_health_and_delivery_can_be_read(outputs):
    assert "what to do" in markup(outputs[8])
    assert "none" in markup(outputs[9]) or "<table>" in markup(outputs[9])


def test_nothing_that_a_run_holds_becomes_markup(outputs):
    every = "".join(map(markup, outputs))

    assert "<script" not in every
    assert "<b>loss" not in every
    assert "<cells>" not in every


@pytest.mark.usefixtures("outputs")
def test_what_a_step_and_the_cells_of_a_run_print_is_kept(project, monkeypatch):
    monkeypatch.delenv("TRACKYARD_HOME", raising=False)
    client = Client(project)
    (pipeline_run,) = client.list_runs("training")
    step = [(line.stream, line.text) for line in client.get_run(pipeline_run.id).console]

    assert ("out", "printed in a step") in step
    assert ("err", "to stderr") in step
    cells = client.get_run("over <cells>").console.text
    assert "first cell\nsecond cell\n" in cells
    assert "printed in a step" not in cells
