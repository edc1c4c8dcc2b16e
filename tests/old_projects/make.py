"""How is a project made that later versions have to read, by the version that is installed?

    python tests/old_projects/make.py 0.2

writes `tests/old_projects/0.2/project.tar.gz`. Its runs end in every way, and none is looked at
any more where that would end or deliver it. The project is made in a folder that exists on no
machine of ours, and is read in another one, as a clone is.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
PLACE = Path("/srv/project")
# What a command leaves in the background would go on while the folder is packed.
_OWN = {
    "HOME": "/nowhere",
    "LC_ALL": "C.UTF-8",
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
    "PYTHONDONTWRITEBYTECODE": "1",
    "TRACKYARD_ISOLATION": "thread",
    "TRACKYARD_WATCHDOG": "0",
}
# Of sqlite's memory that processes share, which is worth nothing without them.
_LEFT_OUT = "-shm"


def main() -> None:
    """Make a project in its place and pack it."""
    target = HERE / sys.argv[1] / "project.tar.gz"
    shutil.rmtree(PLACE, ignore_errors=True)
    shutil.copytree(HERE / "project", PLACE)
    try:
        _make()
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(_packed())
    finally:
        shutil.rmtree(PLACE)


def _make() -> None:
    for run in ("ended", "pending", "untracked", "ranked"):
        _python("blocks.py", run)
    _python("blocks.py", "failed", code=1)
    _trackyard("run", "training.py:training", "--rate", "0.5")
    _trackyard("run", "training.py:training", "--rate", "0.9", "--stack", "parallel")
    _trackyard("run", "training.py:formats")
    _trackyard("run", "training.py:failing", code=1)
    shell = "trackyard log metric loss 7 --step 1; trackyard log param rate 0.3; exit 3"
    _trackyard("exec", "--name", "shell", "--param", "seed=1", "--", "sh", "-c", shell, code=3)
    for step, code in (("fetch", 0), ("fit", 1)):
        of_step = ("--pipeline", "nightly", "--run", "monday", "--step", step)
        _trackyard("exec", *of_step, "--", "sh", "-c", f"exit {code}", code=code)
    _python("blocks.py", "killed", "recovered", "ledger", code=-signal.SIGKILL)
    _trackyard("sync", "--patience", "0", code=1)  # what waits for `away` is left
    _trackyard("replay", "baseline", "--to", "ranks")
    _python("blocks.py", "offline")
    _python("blocks.py", "killed", "unseen", "ledger,away", code=-signal.SIGKILL)
    (PLACE / "must_die").touch()
    _trackyard("run", "training.py:dying", code=-signal.SIGKILL)
    (PLACE / "must_die").unlink()


def _python(*arguments: str, code: int = 0) -> None:
    """Run Python in the project, and insist on how it ends."""
    done = subprocess.run(
        [sys.executable, *arguments],
        check=False,
        cwd=PLACE,
        env=_OWN,
        capture_output=True,
        text=True,
    )
    if done.returncode != code:
        sys.exit(f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _trackyard(*arguments: str, code: int = 0) -> None:
    _python("-m", "trackyard", *arguments, code=code)


def _packed() -> bytes:
    """Give the project as an archive without the names and folders of who made it."""
    stream = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", fileobj=stream, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(PLACE.rglob("*")):
            if not path.name.endswith(_LEFT_OUT):
                member = archive.gettarinfo(path, str(path.relative_to(PLACE)))
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                with path.open("rb") if path.is_file() else io.BytesIO() as file:
                    archive.addfile(member, file if path.is_file() else None)
    return stream.getvalue()


if __name__ == "__main__":
    main()
