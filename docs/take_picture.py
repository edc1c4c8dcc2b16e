"""Take the README's picture anew: the quickstart's curves, in the page of its tracker.

Run it with `uv run docs/take_picture.py`. It needs Chromium; what it starts, it ends.
"""

import os
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


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="digits-") as name, project(Path(name)):
        quickstart = [sys.executable, str(ROOT / "examples/quickstart.py")]
        subprocess.run(quickstart, check=True, cwd=name)
        url = Client(name).list_pipeline_runs()[0].steps["train_network"].url
        page = f"{url}/model-metrics?workflowType=machine_learning"
        shot = Path(name) / "shot.png"
        curve = 'class="scatterlayer'
        browse(page, curve, MOUSE, "--window-size=1500,700", f"--screenshot={shot}")
        # Without the assistant at the right, and the empty charts at the bottom.
        Image.open(shot).convert("RGB").crop((0, 0, 1112, 620)).save(PICTURE, optimize=True)
    print(f"{PICTURE} has {PICTURE.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
