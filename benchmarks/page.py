"""Is the page quick on a large project: 100,000 runs, a million points, a map of 200, 1,000 steps?

Run it with `uv run benchmarks/page.py`; it takes three minutes, needs Chromium and 400 MB on disk.
Chromium opens each view, served by `trackyard page` in a process of its own. A line says after how
long the first of it was painted and all of it was there, and what CPU that took in the server and
in all of Chromium, the least of three times. The bar is for the lesser of these two: Chromium works
in several processes, and a machine that does other things makes one wait. It exits with 1 where a
view misses its bar.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import psutil
from playwright.sync_api import sync_playwright

from trackyard import Client, pipeline, start_run, step
from trackyard.project.configuration import find_project
from trackyard.store import Store
from trackyard.store.details import write_metrics, write_params
from trackyard.store.saving import save_run
from trackyard.system.identifiers import new_id

RUNS, POINTS, STEPS, CALLS = 100_000, 1_000_000, 1_000, 200
SECOND = 1_000_000_000
TRIES = 3
PAINTED = """() => new Promise((done) => {
  const look = () => {
    const found = performance.getEntriesByName("first-contentful-paint")[0];
    if (found) done(found.startTime / 1000); else setTimeout(look, 10);
  };
  look();
})"""


@step
def first() -> int:
    return 0


@step
def add(number: int) -> int:
    return number + 1


@step
def count() -> list[int]:
    return list(range(CALLS))


@pipeline
def wide():
    made = [first()]
    for index in range(1, STEPS):
        made.append(add(made[(index - 1) // 2]))


@pipeline
def mapped():
    add.map(count())


def fill(root: Path) -> None:
    """Make the runs by the product's own code, in a process of their own as training has."""
    with start_run("million", experiment="long", experiment_tracker=None) as run:
        for index in range(POINTS):
            run.log_metric("loss", 1 / (index + 1), step=index)
    wide()
    mapped()
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


@attrs.frozen
class View:
    """A view that a browser opens.

    Attributes:
        name: What it shows.
        path: Its address below the page's.
        shown: What is there when all of it is.
        bar: Seconds that it may take.
    """

    name: str
    path: str
    shown: str
    bar: float = 1.0


def views_of(root: Path) -> list[View]:
    """Give the views that are looked at, of a project that `fill` has filled."""
    client = Client(root)
    ids = {
        name: client.search_runs(f"name like '{name}%'")[0].id
        for name in ("million", "wide", "mapped")
    }
    rows = "tbody tr"
    return [
        View("runs", "runs", rows),
        View("runs, filtered", "runs?filter=metrics.loss<10 and params.rate=0.2", rows),
        View("runs, by a word", "runs?filter=99", rows),
        View("runs, by a metric", "runs?order_by=metrics.loss DESC", rows),
        View("runs, by name", "runs?order_by=name", rows),
        View("runs, page 2,000", "runs?page=2000", rows),
        # Who looks first sums the journal up, unless the watchdog has; that is kept.
        View("1,000,000 points, first look", f"runs/{ids['million']}", ".chart canvas", 3),
        View("1,000,000 points", f"runs/{ids['million']}", ".chart canvas"),
        View("a map of 200, folded", f"runs/{ids['mapped']}", ".graph.is-laid-out li:nth-child(2)"),
        View("a graph of 1,000 steps", f"runs/{ids['wide']}", ".graph.is-laid-out", 2),
    ]


class Looking:
    """Opens views in a browser, and says what each took.

    Args:
        page: Of the browser.
        link: What lets in.
    """

    def __init__(self, page: Any, link: str) -> None:
        self._page = page
        self._home = link.partition("?")[0]
        page.goto(link)

    def cpu(self) -> float:
        """Give the seconds of CPU so far of the server and of the browser's processes."""
        spent = 0.0
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                spent += times.user + times.system
        return spent

    def open(self, view: View) -> tuple[float, float, float]:
        """Give after how many seconds something of a view was painted, and all; and its CPU."""
        before, began = self.cpu(), time.monotonic()
        self._page.goto(self._home + view.path)
        self._page.wait_for_selector(view.shown, state="attached")
        whole = time.monotonic() - began
        return self._page.evaluate(PAINTED), whole, self.cpu() - before

    def type(self, words: str) -> float:
        """Give the CPU of a search that is typed, until the table shows it."""
        self._page.goto(f"{self._home}runs")
        before = self.cpu()
        with self._page.expect_response(lambda answer: words in answer.url):
            self._page.fill("#filter", words)
        self._page.wait_for_selector(f"tbody th:has-text('{words}')")
        return self.cpu() - before


@contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve a project's page; give its link."""
    command = [sys.executable, "-m", "trackyard", "page", "--no-open", "--port", "0"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def look(root: Path, chromium: str) -> int:
    """Print a line for each view; give how many miss their bars."""
    missed = 0
    print(f"{'':30} {'painted':>9} {'whole':>9} {'CPU':>9}    bar")
    with served(root) as link, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        looking = Looking(browser.new_page(), link)
        for view in views_of(root):
            tries = 1 if "first" in view.name else TRIES
            took = [looking.open(view) for _ in range(tries)]
            painted, whole, cpu = map(min, zip(*took, strict=True))
            missed += min(whole, cpu) > view.bar
            print(f"{view.name:30} {painted:7.2f} s {whole:7.2f} s {cpu:7.2f} s of {view.bar:g} s")
        cpu = min(looking.type(words) for words in ("9911", "1199", "4711"))
        missed += cpu > 1
        print(f"{'a search that is typed':30} {'':19} {cpu:7.2f} s of 1 s")
        browser.close()
    return missed


def main() -> int:
    """Fill a project and look at it."""
    if sys.argv[1:] == ["fill"]:
        fill(Path.cwd())
        return 0
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("There is no Chromium on the PATH; type: apt-get install chromium")
        return 1
    program = str(Path(__file__).absolute())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        os.chdir(root)
        os.environ.update(TRACKYARD_PROGRESS="0", TRACKYARD_WATCHDOG="0", TRACKYARD_CONTEXT="0")
        (root / "trackyard.toml").write_text("[stacks.default]\nexperiment_trackers = []\n")
        subprocess.run([sys.executable, program, "fill"], check=True)
        return 1 if look(root, chromium) else 0


if __name__ == "__main__":
    sys.exit(main())
