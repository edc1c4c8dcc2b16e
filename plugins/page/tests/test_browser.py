"""Does a real browser show every view, without an error, a stray request or a stolen script?

`TRACKYARD_PICTURES=docs/images pytest -m slow plugins/page/tests/test_browser.py` also takes the
pictures of the documentation.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from trackyard import Client

HOSTILE = "<script>document.title='stolen'</script>"  # as in filled_project.py
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
DIGITS = Path(__file__).parent / "digits_project.py"
CONFIGURATION = """
[experiment_trackers.board]
flavor = "tensorboard"

[stacks.default]
experiment_trackers = []
"""
LIVE_PIPELINE = """
import sys
from trackyard import log_metric, pipeline, step

@step
def watch() -> int:
    for number, line in enumerate(sys.stdin):
        log_metric("loss", float(line), step=number)
        print("logged", file=sys.__stdout__, flush=True)
    return number

@step
def tell(number: int) -> None:
    pass

@pipeline
def live():
    tell(watch())

live()
"""
LIVE = """
import sys, time
from trackyard import start_run
with start_run("alive", experiment="live", experiment_tracker=None) as run:
    run.log_metric("loss", 3.5, step=0)
    run.log_metric("loss", 3.25, step=1)
    print(run.id, flush=True)
    for line in sys.stdin:
        run.log_metric("loss", float(line), step=2)
        print("logged", flush=True)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH"),
]


def environment():
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TRACKYARD_")}
    return {**kept, "TRACKYARD_PROGRESS": "0", "TRACKYARD_WATCHDOG": "0"}


def run_in(root, *arguments):
    """Run Python in a project's folder, which has to succeed."""
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, check=False, cwd=root, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def ids_of(root):
    """Give the ids of its runs, by name; of a pipeline the latest run's."""
    found = reversed(Client(root).search_runs("", limit=1000))
    return {run.pipeline if run.kind == "pipeline" else run.name: run.id for run in found}


@contextmanager
def served(root):
    command = [sys.executable, "-m", "trackyard", "page", "--no-open", "--port", "0"]
    with subprocess.Popen(
        command,
        cwd=root,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


class Watched:
    """A page of the browser, and what went wrong in it."""

    def __init__(self, page, link):
        self.page = page
        self.home = link.partition("?")[0]
        self.problems = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("requestfinished", self._on_request)
        page.on("requestfailed", lambda r: r.failure == "csp" or self._on_request(r))
        page.goto(link)

    def _on_console(self, message):
        if message.type in ("error", "warning") and "sandboxed" not in message.text:
            self.problems.append(message.text)

    def _on_request(self, request):
        if request.url.endswith("/stolen") or not request.url.startswith((self.home, "data:")):
            self.problems.append(f"request: {request.url}")

    def open(self, path):
        self.page.goto(self.home + path)
        self.page.wait_for_load_state("networkidle")


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def link(filled):
    with served(filled) as link:
        yield link


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A project with pipelines, runs, a replay to a tracker, and runs that were imported."""
    root = tmp_path_factory.mktemp("any") / "digits"
    root.mkdir()
    (root / "trackyard.toml").write_text(CONFIGURATION)
    (root / "earlier.csv").write_text(
        "run,step,loss\nspring,0,0.9\nspring,1,0.4\nsummer,0,0.8\nsummer,1,0.3\n"
    )
    run_in(root, "-m", "trackyard", "import", "csv:earlier.csv")
    run_in(root, str(DIGITS))
    run_in(root, "-m", "trackyard", "replay", "steady", "--to", "board")
    return root


@pytest.fixture(params=["light", "dark"])
def watched(request, browser, link):
    context = browser.new_context(
        color_scheme=request.param, viewport={"width": 1280, "height": 800}
    )
    yield Watched(context.new_page(), link)
    context.close()


def picture(watched, name, height):
    folder = os.environ.get("TRACKYARD_PICTURES")
    is_light = watched.page.evaluate("matchMedia('(prefers-color-scheme: light)').matches")
    if folder and is_light:
        watched.page.screenshot(
            path=Path(folder) / f"page-{name}.png",
            animations="disabled",
            full_page=True,
            clip={"x": 0, "y": 0, "width": 1280, "height": height},
        )


def test_every_view_of_a_project_that_people_have_is_shown_without_an_error(browser, digits):
    ids = ids_of(digits)
    for theme in ("light", "dark"):
        with served(digits) as link:
            context = browser.new_context(
                color_scheme=theme, viewport={"width": 1280, "height": 800}
            )
            watched = Watched(context.new_page(), link)
            look_at_every_view(watched, ids)
            context.close()
        assert watched.problems == []


def look_at_every_view(watched, ids):
    page = watched.page
    watched.open("runs")
    expect(page.locator("tbody tr")).to_have_count(10)
    expect(page.locator("tbody tr", has_text="summer")).to_be_visible()  # an imported one
    for name in ("steady", "deeper", "wider"):
        page.locator("tbody tr", has_text=name).locator("[type=checkbox]").check()
    picture(watched, "runs", 470)
    watched.open(f"runs/{ids['steady']}")
    expect(page.locator(".facts")).to_contain_text("board")  # the tracker that it was replayed to
    watched.open(f"runs/{ids['deeper']}")
    expect(page.locator(".chart canvas")).to_have_count(3)
    expect(page.locator(".media img")).to_be_visible()
    picture(watched, "run", 1010)
    watched.open(f"runs/{ids['training']}")
    expect(page.locator(".edges path")).to_have_count(6)
    expect(page.locator(".timeline rect")).to_have_count(13)
    picture(watched, "pipeline", 650)
    page.click(".node strong:text-is('train')")
    expect(page.locator("#step .chart canvas").first).to_be_visible()
    page.click("#step summary:has-text('in: training.prepare.output')")
    inputs = page.locator("#step .folded summary")
    expect(inputs.nth(2)).to_contain_text("prepare[2]")
    inputs.nth(2).click()
    expect(page.locator("#step .preview pre").first).to_have_text("0.25")
    chosen = "&".join(f"run={ids[name]}" for name in ("baseline", "deeper", "hot", "steady"))
    watched.open(f"compare?{chosen}")
    expect(page.locator("#parallel polyline")).to_have_count(4)
    expect(page.locator(".chart canvas").first).to_be_visible()
    picture(watched, "compare", 1030)
    watched.open(f"runs/{ids['checked']}")
    expect(page.locator(".node.is-failed")).to_have_count(1)
    expect(page.locator(".node.is-skipped").first).to_be_visible()
    for path in ("pipelines", "health", f"runs/{ids['summer']}"):
        watched.open(path)
        expect(page.locator("h1, table").first).to_be_visible()


def test_the_steps_of_a_pipeline_that_goes_on_are_followed(browser, digits):
    with (
        served(digits) as link,
        subprocess.Popen(
            [sys.executable, "-c", LIVE_PIPELINE],
            cwd=digits,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as program,
    ):
        print("0.5", file=program.stdin, flush=True)
        program.stdout.readline()
        watched = Watched(browser.new_page(), link)
        watched.open(f"runs/{ids_of(digits)['live']}")
        node = watched.page.locator(".node", has_text="watch")
        expect(node).to_have_class("node is-running", timeout=60_000)
        program.stdin.close()
        expect(node).to_have_class("node is-finished", timeout=60_000)
        expect(watched.page.locator(".head .status")).to_contain_text("finished", timeout=60_000)
        watched.page.close()

    assert watched.problems == []


def test_every_view_of_a_hostile_project_is_shown_without_an_error(watched, ids):
    watched.open("runs")
    expect(watched.page.locator("tbody tr")).to_have_count(6)
    watched.open(f"compare?run={ids['baseline']}&run={ids[HOSTILE]}")
    expect(watched.page.locator("#parallel polyline")).to_have_count(2)

    assert watched.problems == []


def test_curves_have_the_colours_of_the_theme(watched, ids):
    theme = watched.page.evaluate("document.documentElement.dataset.theme")
    watched.open(f"compare?run={ids['baseline']}&run={ids['wider']}")
    found = watched.page.locator(".swatch").first.evaluate(
        "e => getComputedStyle(e).backgroundColor"
    )

    assert found == {"light": "rgb(31, 107, 89)", "dark": "rgb(108, 195, 170)"}[theme]


def test_a_run_has_one_colour_in_every_chart_of_a_comparison(browser, link, ids):
    watched = Watched(browser.new_page(), link)
    watched.open(f"compare?run={ids['search']}&run={ids['baseline']}&run={ids['wider']}")
    swatches = watched.page.locator(".swatch").evaluate_all(
        "all => all.map((one) => getComputedStyle(one).backgroundColor)"
    )
    odd = watched.page.locator(".chart[data-key=odd] .u-series:nth-child(n+2) .u-marker")
    expect(odd).to_have_count(2)  # the search has no such metric
    lines = odd.evaluate_all("all => all.map((one) => getComputedStyle(one).borderTopColor)")
    watched.page.close()

    assert lines == swatches[1:]


def test_nothing_of_a_hostile_run_is_run_or_asked_for(watched, ids):
    watched.open(f"runs/{ids[HOSTILE]}")
    for found in watched.page.locator("summary").all():
        found.click()
    watched.page.locator("input[type=range][data-steps]").fill("0")
    frame = watched.page.frame_locator("iframe")
    expect(frame.locator("b")).to_have_text("report")
    watched.open(f"runs/{ids[HOSTILE]}/file?name=page.html")  # on its own

    assert "stolen" not in watched.page.title().replace(HOSTILE, "")
    assert [found for found in watched.problems if "Content Security Policy" not in found] == []


def test_keys_go_through_the_table_and_choose(watched, ids):
    page = watched.page
    watched.open("runs")
    for key in ("j", "x", "j", "x", "c"):
        page.keyboard.press(key)
    page.wait_for_url("**/compare?**")
    watched.open("runs")
    page.keyboard.press("/")
    page.keyboard.type("wid")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert "filter=wid" in page.url

    assert watched.problems == []


def test_a_narrow_screen_scrolls_no_further_than_it_is_wide(browser, link, ids):
    context = browser.new_context(viewport={"width": 390, "height": 800})
    watched = Watched(context.new_page(), link)
    for path in ("runs", f"runs/{ids['baseline']}", f"runs/{ids['training']}", "pipelines"):
        watched.open(path)
        width = watched.page.evaluate("document.documentElement.scrollWidth")
        wide = watched.page.evaluate("""[...document.querySelectorAll("main *")]
            .filter((one) => one.getBoundingClientRect().right > innerWidth)
            .map((one) => one.outerHTML.slice(0, 120)).slice(-5)""")
        assert width <= 390, (path, wide)
    context.close()


def test_a_point_of_a_run_that_goes_on_is_soon_on_the_screen(browser, tmp_path):
    (tmp_path / "trackyard.toml").write_text("[stacks.default]\nexperiment_trackers = []\n")
    with (
        served(tmp_path) as link,
        subprocess.Popen(
            [sys.executable, "-c", LIVE],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as program,
    ):
        id_ = program.stdout.readline().strip()
        watched = Watched(browser.new_page(), link)
        watched.open(f"runs/{id_}")
        last = watched.page.locator(".chart h3 b")
        expect(last).to_have_text("3.25")
        print("7.125", file=program.stdin, flush=True)
        program.stdout.readline()
        began = time.monotonic()
        expect(last).to_have_text("7.125", timeout=60_000)
        print(f"on the screen after {time.monotonic() - began:.1f} s")
        program.stdin.close()
        watched.page.close()

    assert watched.problems == []
