"""How do tests get a database of a real PostgreSQL server, which all of them share?"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from shared import made_once, shared_folder, shared_program


class Server:
    """A server that ends with its last user.

    Args:
        folder: Where those who share it meet.
        binaries: Where its programs are.
    """

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder
        self._binaries = binaries
        is_root = os.geteuid() == 0
        self._as_user = ["runuser", "-u", "postgres", "--"] if is_root else []  # not as root
        self.port = json.loads(made_once(folder / "port", _write_free_port).read_text())

    def command(self) -> list[str]:
        """Make an empty database, and give what serves it."""
        # Not below the tests' own folder, which is its owner's alone.
        data = Path(tempfile.mkdtemp(prefix="trackyard-postgresql-"))
        if self._as_user:
            shutil.chown(data, "postgres")
        elsewhere = self.folder / "elsewhere"
        elsewhere.unlink(missing_ok=True)
        elsewhere.symlink_to(data)
        options = ["-A", "trust", "-U", "trackyard", "--no-sync"]
        making = [*self._as_user, str(self._binaries / "initdb"), "-D", f"{data}/data", *options]
        subprocess.run(making, check=True, capture_output=True, cwd=data)
        settings = ["fsync=off", "max_connections=200", f"port={self.port}"]
        settings += ["listen_addresses=127.0.0.1", f"unix_socket_directories={data}"]
        serving = [*self._as_user, str(self._binaries / "postgres"), "-D", f"{data}/data"]
        return [*serving, *(part for setting in settings for part in ("-c", setting))]

    def answers(self) -> bool:
        asking = [self._binaries / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-q"]
        return subprocess.run(asking, check=False).returncode == 0

    def new_database(self) -> str:
        """Make a database for one user alone, and give its URL."""
        name = f"tests_{uuid4().hex}"
        by = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "trackyard"]
        subprocess.run([self._binaries / "createdb", *by, name], check=True, capture_output=True)
        return f"postgresql://trackyard@127.0.0.1:{self.port}/{name}"


@contextmanager
def database(factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of an empty database; skip where no PostgreSQL is installed."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *os.get_exec_path()]
    found = [Path(folder) for folder in folders if (Path(folder) / "initdb").is_file()]
    if not found:
        pytest.skip("no PostgreSQL is installed; type: apt-get install postgresql")
    server = Server(shared_folder(factory, "postgresql"), found[0])
    with shared_program(server.folder, server.command, server.answers):
        yield server.new_database()


def _write_free_port(path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        path.write_text(json.dumps(probe.getsockname()[1]))
