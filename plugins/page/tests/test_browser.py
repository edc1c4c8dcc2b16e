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

HOSTILE = "<script>document.title='stolen'</script>"  # as in filled_project.py
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
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


@contextmanager
def served(root):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TRACKYARD_")}
    command = [sys.executable, "-m", "trackyard", "page", "--no-open", "--port", "0"]
    with subprocess.Popen(
        command,
        cwd=root,
        env={**kept, "TRACKYARD_WATCHDOG": "0"},
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


@pytest.fixture(params=["light", "dark"])
def watched(request, browser, link):
    context = browser.new_context(
        color_scheme=request.param, viewport={"width": 1280, "height": 800}
    )
    yield Watched(context.new_page(), link)
    context.close()


def picture(watched, name):
    folder = os.environ.get("TRACKYARD_PICTURES")
    is_light = watched.page.evaluate("matchMedia('(prefers-color-scheme: light)').matches")
    if folder and is_light:
        watched.page.screenshot(path=Path(folder) / f"page-{name}.png")


def test_every_view_is_shown_without_an_error(watched, ids):
    page = watched.page
    watched.open("runs")
    expect(page.locator("tbody tr")).to_have_count(6)
    watched.open("runs?filter=not+name+like+'%<%'")
    expect(page.locator("tbody tr")).to_have_count(5)
    picture(watched, "runs")
    watched.open(f"runs/{ids['baseline']}")
    expect(page.locator(".chart canvas").first).to_be_visible()
    picture(watched, "run")
    watched.open(f"runs/{ids['training']}")
    expect(page.locator(".edges path")).to_have_count(2)
    page.click(".node strong:text-is('train')")
    expect(page.locator("#step .chart canvas")).to_be_visible()
    page.locator("#step details", has_text="in: training.square").first.click()
    expect(page.locator("#step .preview pre").first).to_have_text("0.0")
    picture(watched, "pipeline")
    watched.open(f"compare?run={ids['baseline']}&run={ids['wider']}&run={ids[HOSTILE]}")
    expect(page.locator("#parallel polyline")).to_have_count(3)
    watched.open(f"compare?run={ids['baseline']}&run={ids['wider']}")
    expect(page.locator(".chart canvas").first).to_be_visible()
    picture(watched, "compare")
    for path in ("pipelines", "health", f"runs/{ids['failing']}"):
        watched.open(path)
        expect(page.locator("h1, table").first).to_be_visible()

    assert watched.problems == []


def test_curves_have_the_colours_of_the_theme(watched, ids):
    theme = watched.page.evaluate("document.documentElement.dataset.theme")
    watched.open(f"compare?run={ids['baseline']}&run={ids['wider']}")
    found = watched.page.locator(".swatch").first.evaluate(
        "e => getComputedStyle(e).backgroundColor"
    )

    assert found == {"light": "rgb(31, 107, 89)", "dark": "rgb(108, 195, 170)"}[theme]


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
        assert width <= 390, path
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
