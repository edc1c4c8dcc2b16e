"""Is the site whole, and does a real browser show it, without an error or a request elsewhere?

`TRACKYARD_SITE_PICTURES=folder pytest -m slow tests/test_site.py` also takes pictures to look at.
"""

from __future__ import annotations

import functools
import http.server
import os
import runpy
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).parents[1]
BUILD = SimpleNamespace(**runpy.run_path(str(ROOT / "site/build.py")))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
# One of each kind: prose with pictures, a table, code, commands, drawings, a reference.
SHOWN = {
    "": "The pytest of experiment tracking",
    "docs": "What is where",
    "docs/flavors/mlflow": "The MLflow flavor",
    "docs/reference/cli": "trackyard runs compare",
    "docs/how-it-works": "How it works",
    "plugins": "after a lost answer",
    "reference/trackyard": "log_metric",
    "examples/quickstart.py": "Train two kinds of model",
}
WINDOWS = {"wide": (1400, 900), "narrow": (390, 800)}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built strictly: a dead link or anchor is an error there."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, str(ROOT / "site/build.py"), str(folder)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


class _Parsed(HTMLParser):
    """What a page links to, loads, and can be linked to."""

    def __init__(self, page):
        super().__init__()
        self.links, self.loaded, self.anchors = set(), set(), set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.add(found["href"])
        loaded = found.get("src") or (tag == "link" and found.get("href"))
        if loaded:
            self.loaded.add(loaded)


@pytest.fixture(scope="module")
def pages(site):
    """Each page by its address below the site's."""
    return {
        f"/{page.parent.relative_to(site).as_posix()}/".replace("/./", "/"): _Parsed(page)
        for page in site.rglob("index.html")
    }


def test_every_page_of_the_repository_is_there(pages):
    for page in BUILD.PAGES:
        name = page.relative_to(ROOT).as_posix().removesuffix(".md")
        address = "/" + name.removesuffix("README").removesuffix("index").rstrip("/")
        assert f"{address}/".replace("//", "/") in pages


def test_every_link_leads_to_a_page_and_a_heading(pages, site):
    for address, page in pages.items():
        for link in page.links | page.loaded:
            if urlsplit(link).scheme:
                continue
            target, heading = urldefrag(urljoin(address, link))
            if target in pages:
                assert not heading or unquote(heading) in pages[target].anchors | {""}, link
            else:
                assert (site / unquote(target).lstrip("/")).is_file(), f"{address} has {link}"


def test_nothing_is_loaded_from_elsewhere(pages, site):
    assert [link for page in pages.values() for link in page.loaded if urlsplit(link).netloc] == []
    for style in site.rglob("*.css"):
        assert "url(http" not in style.read_text(encoding="utf-8")


@pytest.mark.parametrize("door", BUILD.DOORS)
def test_reference_names_everything_that_a_door_gives(pages, door):
    shown = pages[f"/reference/{door}/"].anchors
    names = [name for names in BUILD.names_of(door).values() for name in names]

    assert len(names) > 30
    assert [name for name in names if f"{door}.{name}" not in shown] == []


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(_Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class _Watched:
    """A page of the browser, and what went wrong in it."""

    def __init__(self, browser, address, window="wide", scheme="light"):
        width, height = WINDOWS[window]
        size = {"width": width, "height": height}
        self.page = browser.new_page(viewport=size, color_scheme=scheme)
        self.problems = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._on_request)
        self.page.on("response", self._on_response)
        self._address = address

    def _on_console(self, message):
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def _on_request(self, request):
        if not request.url.startswith((self._address, "data:", "blob:")):
            self.problems.append(f"asked for {request.url}")

    def _on_response(self, response):
        if response.status >= 400:
            self.problems.append(f"{response.status} of {response.url}")

    def open(self, path):
        self.page.goto(f"{self._address}/{path}{'/' if path else ''}", wait_until="networkidle")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", WINDOWS)
def test_page_is_shown_without_an_error_and_fits_the_window(browser, address, window, scheme):
    watched = _Watched(browser, address, window, scheme)
    for path, text in SHOWN.items():
        watched.open(path)
        page = watched.page
        expect(page.locator("article").get_by_text(text).first).to_be_attached()
        width = page.evaluate("document.documentElement.scrollWidth")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        red = int(ground.split("(")[1].split(",")[0])

        assert width <= WINDOWS[window][0], f"{path} is {width} wide"
        assert (red < 100) == (scheme == "dark"), f"{path} has {ground}"
        if folder := os.environ.get("TRACKYARD_SITE_PICTURES"):
            name = f"{path.replace('/', '-') or 'home'}-{window}-{scheme}.png"
            page.screenshot(path=Path(folder) / name)
    assert watched.problems == []
    watched.page.close()


def test_search_finds_a_page_offline(browser, address):
    watched = _Watched(browser, address)
    watched.open("")
    watched.page.keyboard.press("/")
    watched.page.keyboard.type("log_histogram", delay=20)
    found = watched.page.locator("a", has_text="log_histogram").first
    expect(found).to_be_visible(timeout=20_000)
    found.click()
    watched.page.wait_for_url("**/reference/**")

    assert watched.problems == []
    watched.page.close()
