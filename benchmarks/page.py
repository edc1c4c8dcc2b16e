"""Is the page quick on a large project: 100,000 runs, a million points, a graph of 1,000 steps?

Run it with `uv run benchmarks/page.py`; it takes two minutes and needs 400 MB on disk. It asks the
page's application itself, so that neither a browser nor the network is in the figures. It exits
with 1 where an answer takes longer than its bar.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from starlette.testclient import TestClient

from trackyard import Client, pipeline, start_run, step
from trackyard.project.configuration import find_project
from trackyard.store import Store
from trackyard.store.details import write_metrics, write_params
from trackyard.store.store import save_run
from trackyard.system.identifiers import new_id
from trackyard_page.access import Access
from trackyard_page.app import new_app

RUNS, POINTS, STEPS = 100_000, 1_000_000, 1_000
SECOND = 1_000_000_000


@step
def first() -> int:
    return 0


@step
def add(number: int) -> int:
    return number + 1


@pipeline
def wide():
    made = [first()]
    for index in range(1, STEPS):
        made.append(add(made[(index - 1) // 2]))


def fill(root: Path) -> None:
    """Make the runs by the product's own code, in a process of their own as training has."""
    with start_run("million", experiment="long", experiment_tracker=None) as run:
        for index in range(POINTS):
            run.log_metric("loss", 1 / (index + 1), step=index)
    wide()
    store = Store.of(find_project(root))
    began = time.time_ns() - RUNS * SECOND
    with store.writing() as session:
        for number in range(RUNS):
            at = began + number * SECOND
            values = {"kind": "run", "name": f"block-{number}", "experiment": "sweep"}
            times = {"started_at": at, "ended_at": at + SECOND}
            save_run(session, {"id": new_id(), **values, "status": "finished", **times}, None)
            (row,) = session.execute("SELECT MAX(no) AS no FROM runs")
            write_params(session, row["no"], {"rate": number % 7 / 10, "batch": number % 5})
            write_metrics(session, row["no"], {"loss": number % 1009, "accuracy": number % 97})
    store.close()


def main() -> int:
    """Print a line for each view."""
    if sys.argv[1:] == ["fill"]:
        fill(Path.cwd())
        return 0
    program = str(Path(__file__).absolute())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.chdir(root)
        os.environ.update(TRACKYARD_PROGRESS="0", TRACKYARD_WATCHDOG="0", TRACKYARD_CONTEXT="0")
        (root / "trackyard.toml").write_text("[stacks.default]\nexperiment_trackers = []\n")
        subprocess.run([sys.executable, program, "fill"], check=True)
        client = Client(root)
        ids = {
            name: client.search_runs(f"name like '{name}%'")[0].id for name in ("million", "wide")
        }
        app = new_app(root, Access(token="t"))
        headers = {"authorization": "Bearer t"}
        reader = TestClient(app, base_url="http://127.0.0.1", headers=headers)
        views = {
            "runs": ("/runs", 1),
            "runs, filtered": ("/runs?filter=metrics.loss < 10 and params.rate = 0.2", 1),
            "runs, by a word": ("/runs?filter=99", 1),
            "runs, sorted": ("/runs?order_by=metrics.loss DESC", 1),
            "runs, page 2,000": ("/runs?page=2000", 1),
            # Who looks first sums the journal up, unless the watchdog has; that is kept.
            "1,000,000 points, first look": (f"/runs/{ids['million']}?first", 3),
            "1,000,000 points": (f"/runs/{ids['million']}", 1),
            "a graph of 1,000 steps": (f"/runs/{ids['wide']}", 2),
        }
        missed = 0
        for name, (address, bar) in views.items():
            start = time.process_time()
            answer = reader.get(address)
            took = time.process_time() - start
            assert answer.status_code == 200, answer.text
            missed += took > bar
            print(f"{name:28} {took:6.3f} s of {bar} s, {len(answer.content):,} bytes")
        start = time.process_time()
        reader.get(f"/curves?run={ids['million']}&key=loss")
        print(f"{'all of those points':28} {time.process_time() - start:6.3f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
