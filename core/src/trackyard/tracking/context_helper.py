"""What does the helper do that collects what takes time: git, packages, graphics processors?

    python -S -P -c "from trackyard.tracking.context_helper import main; main()" < asks > answers

The first line that it reads is a question of JSON. It answers in lines, each with more than the one
before; each is acknowledged by a line `ok`. Other lines name folders of runs. Where its process
has gone before it has acknowledged an answer, the answer is written into those runs here.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import time
from contextlib import suppress
from pathlib import Path

from trackyard.tracking.repository import (
    Repository,
    diff_of,
    find_repository,
    head_of,
    is_dirty,
    output_of,
    remote_of,
    without_credentials,
)

TYPE_CHECKING = False  # it lives for moments, and `typing` would cost it as much
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

# Seconds after which it ends, whatever it waits for, and after which git does.
LIVES, GIT = 120, 45.0
_ACKNOWLEDGED = 5.0
_MOST_PACKAGES, _MOST_DIFF = 5000, 1_000_000
# What CI says of a commit, where there is no repository: commit, branch, address.
_CI = (
    ("GITHUB_SHA", "GITHUB_REF_NAME", ""),
    ("CI_COMMIT_SHA", "CI_COMMIT_REF_NAME", "CI_PROJECT_URL"),
    ("GIT_COMMIT", "GIT_BRANCH", "GIT_URL"),
    ("BUILDKITE_COMMIT", "BUILDKITE_BRANCH", "BUILDKITE_REPO"),
    ("CIRCLE_SHA1", "CIRCLE_BRANCH", "CIRCLE_REPOSITORY_URL"),
    ("BUILD_SOURCEVERSION", "BUILD_SOURCEBRANCHNAME", "BUILD_REPOSITORY_URI"),
)
_DISTRIBUTION = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)(?:-py[\d.]+)?\.(dist|egg)-info")


def main() -> None:
    """Answer the question, then end."""
    signal.alarm(LIVES)
    asker = _Asker(os.getppid())
    question = json.loads(asker.line() or "null")
    if question is None:
        return
    found: dict[str, Any] = {}
    for more in answers(question):
        found |= more
        asker.tell(found)


class _Asker:
    """The process that asks: what it says, and whether it still listens."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._read = b""
        self._runs: list[Path] = []
        self._is_gone = False

    def line(self, until: float = 0.0) -> str | None:
        """Give the next line; None where its process has gone, or the time is over."""
        while b"\n" not in self._read:
            if select.select([0], [], [], 0.2)[0]:
                more = os.read(0, 65536)
                if not more:
                    return None
                self._read += more
            elif os.getppid() != self._process or (until and time.monotonic() > until):
                return None
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()

    def tell(self, answer: dict[str, Any]) -> None:
        """Give an answer to it, or to the runs that it has named."""
        if not self._is_gone:
            try:
                os.write(1, json.dumps(answer).encode() + b"\n")
            except OSError:
                self._is_gone = True
        until = time.monotonic() + (0.3 if self._is_gone else _ACKNOWLEDGED)
        while (line := self.line(until)) != "ok":
            if line is None:
                self._is_gone = True
                break
            self._runs.append(Path(line))
        if self._is_gone:
            write_into(self._runs, answer)


def write_into(runs: list[Path], answer: Mapping[str, Any]) -> None:
    """Write what was found into the journals of runs, whose process has gone.

    Args:
        runs: Their folders; one that was never made has no journal.
        answer: What was found.
    """
    there = [folder for folder in dict.fromkeys(runs) if folder.is_dir()]
    if not there:  # as of most steps without a tracker
        return
    from trackyard.system.helpers import add_packages

    add_packages()
    from trackyard.journal.entries import Entry
    from trackyard.journal.reader import latest_session
    from trackyard.journal.writer import JournalWriter

    kept = {key: value for key, value in answer.items() if key != "diff"}
    for folder in there:
        session = latest_session(folder)
        writer = JournalWriter(folder, "child", makes_folder=False, session=session)
        writer.append(Entry("context", time.time_ns(), None, kept))
        writer.close()


def answers(question: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Find what is asked for, what is quick first.

    Args:
        question: `collect`, what is wanted; `path`, where packages are; `folders`, in one of which
            the code is, the first one that is in a repository.
    """
    wanted: list[str] = question["collect"]
    first: dict[str, Any] = {}
    if "packages" in wanted:
        first["packages"] = packages_in(question["path"])
    if "hardware" in wanted:
        first["gpus"] = graphics_processors()
    if not {"git", "diff"} & {*wanted}:
        yield first
        return
    found = (find_repository(Path(folder)) for folder in question["folders"])
    repository = next((one for one in found if one is not None), None)
    git = _named_by_ci() if repository is None else _git_of(repository)
    if git and "git" in wanted:
        first["git"] = git
    commit = git.get("commit")
    yield first
    if repository is None or commit is None:
        return
    last: dict[str, Any] = {}
    if "git" in wanted and (dirty := is_dirty(repository, commit, GIT)) is not None:
        last["git"] = {**git, "is_dirty": dirty}
    if "diff" in wanted and (diff := diff_of(repository, commit, GIT, _MOST_DIFF)):
        last["diff"] = diff
    if last:
        yield last


def packages_in(path: list[str]) -> dict[str, str]:
    """Give the version of each distribution on a path, as the names of its folders say it.

    Args:
        path: A process's `sys.path`; the first place that has a distribution counts.
    """
    found: dict[str, str] = {}
    for place in path:
        for entry in sorted(_names_in(place or ".")):
            if not (match := _DISTRIBUTION.fullmatch(entry)):
                continue
            name = re.sub(r"[-_.]+", "-", match["name"]).lower()
            if len(found) < _MOST_PACKAGES:
                found.setdefault(name, match["version"].replace("_", "-"))
    return dict(sorted(found.items()))


def graphics_processors() -> list[str]:
    """Name the graphics processors, as NVIDIA's driver does."""
    folders = Path("/proc/driver/nvidia/gpus")
    names = []
    with suppress(OSError):
        for file in sorted(folders.glob("*/information")):
            model = re.search(r"^Model:\s*(.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            names += [model[1].strip()] if model else []
    if names or not os.path.exists("/dev/nvidiactl"):  # noqa: PTH110 - one look
        return names
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return (output_of(command, 5.0, 65536) or b"").decode("utf-8", "replace").splitlines()


def _git_of(repository: Repository) -> dict[str, Any]:
    commit, branch = head_of(repository)
    if commit is None:  # a kind of references that only git reads
        command = ["git", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}"]
        command += ["-C", str(repository.top), "rev-parse", "HEAD"]
        told = (output_of(command, 5.0, 100) or b"").decode("ascii", "replace").strip()
        commit, branch = told or None, None if branch == ".invalid" else branch
    known = {"commit": commit, "branch": branch, "remote": remote_of(repository, branch)}
    return {key: value for key, value in known.items() if value}


def _named_by_ci() -> dict[str, Any]:
    for names in _CI:
        commit, branch, remote = (os.environ.get(name, "") for name in names)
        if re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", commit):
            known = {"commit": commit, "branch": branch, "remote": without_credentials(remote)}
            return {key: value for key, value in known.items() if value}
    return {}


def _names_in(place: str) -> list[str]:
    try:
        return os.listdir(place)  # noqa: PTH208 - names alone, of folders with thousands
    except OSError:
        return []


if __name__ == "__main__":
    main()
