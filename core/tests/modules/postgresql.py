"""How do tests get a real PostgreSQL server, which ends by itself?"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def server() -> Iterator[str]:
    """Run a server with an empty database and give its URL; skip where none is installed."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *os.get_exec_path()]
    found = [Path(folder) for folder in folders if (Path(folder) / "initdb").is_file()]
    if not found:
        pytest.skip("no PostgreSQL is installed; type: apt-get install postgresql")
    binaries, user = found[0], os.geteuid() == 0
    as_user = ["runuser", "-u", "postgres", "--"] if user else []  # it refuses to run as root
    with tempfile.TemporaryDirectory(prefix="trackyard-postgresql-") as folder:
        if user:
            shutil.chown(folder, "postgres")
        data = f"{folder}/data"
        options = ["-A", "trust", "-U", "trackyard", "--no-sync"]
        command = [*as_user, binaries / "initdb", "-D", data, *options]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = ["-c", "fsync=off", "-c", "max_connections=200", "-c", f"port={port}"]
        settings += ["-c", "listen_addresses=127.0.0.1", "-k", folder]
        process = subprocess.Popen(
            [*as_user, binaries / "postgres", "-D", data, *settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
        )
        try:
            _wait_until_it_answers(binaries, port, process)
            yield f"postgresql://trackyard@127.0.0.1:{port}/postgres"
        finally:
            stop = [*as_user, binaries / "pg_ctl", "-D", data, "stop", "-m", "immediate"]
            subprocess.run(stop, check=True, capture_output=True, cwd=folder)
            process.communicate(timeout=30)


def _wait_until_it_answers(binaries: Path, port: int, process: subprocess.Popen) -> None:
    give_up_at = time.monotonic() + 60
    asked = [binaries / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-q"]
    while subprocess.run(asked, check=False).returncode:
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError(f"PostgreSQL does not answer: {process.communicate()[1]!r}")
        time.sleep(0.1)
