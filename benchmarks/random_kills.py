"""Is anything lost when processes that log from four threads are killed at 300 random points?

    uv run benchmarks/random_kills.py [KILLS]

Half of them are tracked by MLflow on sqlite, half by a real `mlflow server`. A quarter kill
themselves in the statement after a log call, a quarter are killed while the run starts. Each must
have every record whose call returned in its journal, all of the journal in MLflow, none there
twice, and must be FAILED there within 10 seconds after its death.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "faults" / "modules"))

from killing import killed, problems_of

KILLS = 300


def started_server(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a real server and wait until it answers."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2).close()
            return process, url
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server does not start")


def distribution(seconds: list[float]) -> str:
    """Say how long after the deaths something was so."""
    parts = statistics.quantiles(seconds, n=100, method="inclusive")
    shown = {"median": parts[49], "90 %": parts[89], "99 %": parts[98], "latest": max(seconds)}
    return "after " + ", ".join(f"{value:.1f} s ({name})" for name, value in shown.items())


def main() -> int:
    """Kill, compare, print, and give 1 where anything is lost, doubled or late."""
    from mlflow import MlflowClient

    kills = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        store = folder / "store.db"
        MlflowClient(f"sqlite:///{store}").search_experiments()
        server, url = started_server(folder)
        try:
            databases = {f"sqlite:///{store}": store, url: folder / "server.db"}
            seed = time.time_ns()
            results = killed(folder / "killed", list(databases), kills, seed, at_once=2)
            problems = [text for one in results for text in problems_of(one, databases[one["uri"]])]
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    records = sum(sum(one["noted"]) for one in results)
    print(f"{kills} kills, seed {seed}; {records} calls returned before them")
    for name, uri in (("sqlite", next(iter(databases))), ("server", url)):
        of_it = [one for one in results if one["uri"] == uri]
        print(f"{name}: ended {distribution([one['seconds'] for one in of_it])}")
        print(f"{name}: whole {distribution([one['whole'] for one in of_it])}")
    print("\n".join(problems) or "nothing is lost, doubled or late")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
