"""Take the README's picture anew, or those of frameworks: curves in the page of a tracker.

Run it with `uv run docs/take_picture.py [PAGE...]`: without names it takes the quickstart's, else
that of the training on each of these pages of `docs/frameworks/`, such as `keras`. Those with torch
run in the Python that `TORCH_PYTHON` names. It needs Chromium; what it starts, it ends.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from trackyard import Client

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs/images/run.png"
PAGES = ROOT / "docs/frameworks"
FILES = re.compile(r"^```\w+\n# ([\w.]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITH_TORCH = ("accelerate", "lightning", "transformers")
NAMES = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=30000",
    "--dump-dom",
]
# A mouse, which headless Chromium lacks: without one MLflow's charts show their toolbars always.
MOUSE = """--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,\
availablePointerTypes=4"""


def browse(url: str, wanted: str, *switches: str) -> str:
    """Open a page in Chromium, again until it holds a text: a cold server is slow at first."""
    command = next(filter(None, map(shutil.which, NAMES)))
    page = ""
    for _ in range(5):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            page = subprocess.run(
                [command, *SWITCHES, f"--user-data-dir={profile}", *switches, url],
                check=True,
                timeout=120,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ).stdout
        if wanted in page:
            return page
    raise RuntimeError(f"{url} does not show {wanted!r}:\n{page}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def project(folder: Path):
    """Configure the embedded MLflow on a free port and serve it with `trackyard ui`."""
    port = free_port()
    text = f'[experiment_trackers.local]\nflavor = "mlflow"\nui_port = {port}\n'
    (folder / "trackyard.toml").write_text(text)
    with (folder / "ui.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "trackyard", "ui"],
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server)
            yield
        except OSError as error:
            raise RuntimeError((folder / "ui.log").read_text()) from error
        finally:
            end(server)


def wait_for(url: str, server: subprocess.Popen, seconds: float = 90) -> None:
    give_up = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if server.poll() is not None or time.monotonic() > give_up:
                raise
        time.sleep(0.2)


def end(server: subprocess.Popen) -> None:
    """End a server, and whatever it started, in any case."""
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def take(url: str, picture: Path) -> None:
    """Take the picture of a run's curves.

    Args:
        url: The run's page.
        picture: The file to write.
    """
    shot = Path(tempfile.mkdtemp(prefix="shot-")) / "shot.png"
    run, curve = url.partition("?")[0], 'class="scatterlayer'
    page = f"{run}/model-metrics?workflowType=machine_learning"
    browse(page, curve, MOUSE, "--window-size=1500,700", f"--screenshot={shot}")
    # Without the assistant at the right, and the empty charts at the bottom.
    image = Image.open(shot).convert("RGB").crop((0, 0, 1112, 620))
    image.quantize(64).save(picture, optimize=True)
    shutil.rmtree(shot.parent)
    print(f"{picture} has {picture.stat().st_size // 1000} kB")


def main(pages: list[str]) -> None:
    for page in pages or ["quickstart"]:
        with tempfile.TemporaryDirectory(prefix="digits-") as name, project(Path(name)):
            if page == "quickstart":
                program = [sys.executable, str(ROOT / "examples/quickstart.py")]
                subprocess.run(program, check=True, cwd=name)
                take(Client(name).list_pipeline_runs()[0].steps["train_network"].url, PICTURE)
                continue
            for file, text in FILES.findall((PAGES / f"{page}.md").read_text(encoding="utf-8")):
                (Path(name) / file).write_text(text, encoding="utf-8")
            python = os.environ["TORCH_PYTHON"] if page in WITH_TORCH else sys.executable
            subprocess.run([python, "train.py"], check=True, cwd=name)
            run = Client(name).get_run(Client(name).list_runs()[-1].id)
            shown = run if run.metrics else run.children[0]  # a search's own has none
            take(shown.url, PICTURE.parent / "frameworks" / f"{page}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
