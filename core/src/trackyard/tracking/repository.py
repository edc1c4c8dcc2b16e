"""What does a git repository say of the code in it, without that any of its own code runs?

A repository's configuration names programs: for `core.fsmonitor`, hooks, filters, diffs, pagers,
transports. So what can be read is read here, and git itself gets a folder of ours as its
`GIT_DIR`, which has nothing of that configuration but a few plain words about the file system.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path

TYPE_CHECKING = False  # its helper lives for moments, and `typing` would cost it as much
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from typing import Any

# Words of a repository's configuration without which git would see changes where there are none.
_FILE_SYSTEM = (
    *("filemode", "symlinks", "ignorecase", "trustctime", "checkstat"),
    *("precomposeunicode", "autocrlf", "eol"),
)

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_MOST_READ = 16 * 1024 * 1024
_LARGEST_INDEX = 64 * 1024 * 1024


class Repository:
    """Where a repository lies: its files, its own folder, and that which its worktrees share."""

    def __init__(self, top: Path, folder: Path, shared: Path) -> None:
        self.top = top
        self.folder = folder
        self.shared = shared


def find_repository(start: Path) -> Repository | None:
    """Find the repository that a folder is in, by walking up.

    Args:
        start: The folder.
    """
    for top in (start, *start.parents):
        marker = top / ".git"
        folder = marker
        if marker.is_file():  # a worktree or a submodule
            text = _read(marker)
            if not text.startswith("gitdir:"):
                return None
            folder = top / text.removeprefix("gitdir:").strip()
        if (folder / "HEAD").is_file():
            shared = folder / _read(folder / "commondir").strip()
            return Repository(top, folder, shared)
    return None


def head_of(repository: Repository) -> tuple[str | None, str | None]:
    """Give the commit that is checked out, and its branch; None for what is not known.

    Args:
        repository: The repository.
    """
    head = _read(repository.folder / "HEAD").strip()
    if not head.startswith("ref:"):
        return (head if _COMMIT.fullmatch(head) else None), None
    reference = head.removeprefix("ref:").strip()
    branch = reference.removeprefix("refs/heads/")
    for folder in (repository.folder, repository.shared):
        found = _read(folder / reference).strip()
        if _COMMIT.fullmatch(found):
            return found, branch
    packed = _read(repository.shared / "packed-refs")
    line = re.search(rf"^([0-9a-f]+) {re.escape(reference)}$", packed, re.MULTILINE)
    return (line[1] if line else None), branch


def remote_of(repository: Repository, branch: str | None) -> str | None:
    """Give the address of the branch's remote, of `origin` or of the only one, cleaned.

    Args:
        repository: The repository.
        branch: The branch that is checked out.
    """
    words = dict(_configuration(repository))
    urls = {key[1]: url for key, url in words.items() if key[0] == "remote" and key[2] == "url"}
    wanted = words.get(("branch", branch or "", "remote"), "origin")
    url = urls.get(wanted) or urls.get("origin") or next(iter(urls.values()), None)
    return without_credentials(url) if url else None


def without_credentials(url: str) -> str:
    """Remove what a URL says of its user, its password or a token; `git@host:path` stays.

    Args:
        url: The address of a remote.
    """
    if "://" not in url:
        return url if re.fullmatch(r"[\w.-]+@[^@]+", url) else url.rpartition("@")[2]
    from urllib.parse import urlsplit, urlunsplit

    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("://")[0] + "://" + url.rpartition("@")[2]
    host = parts.netloc.rpartition("@")[2]
    user = parts.netloc.rpartition("@")[0].partition(":")[0]
    is_ssh = parts.scheme.endswith("ssh") and re.fullmatch(r"[\w.-]{1,32}", user)
    netloc = f"{user}@{host}" if is_ssh else host
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))


def is_dirty(repository: Repository, commit: str, seconds: float) -> bool | None:
    """Tell whether files that git knows were changed; None where git cannot say it in time.

    Args:
        repository: The repository.
        commit: The commit that is checked out.
        seconds: How long it may take.
    """
    options = ("--porcelain", "--untracked-files=no", "--no-renames", "--ignore-submodules=dirty")
    with _alone(repository, commit) as run_git:
        changes = run_git(["status", *options], seconds, 1)
    return None if changes is None else bool(changes)


def diff_of(repository: Repository, commit: str, seconds: float, most: int) -> str | None:
    """Give what was changed since the commit; None where git cannot say it in time.

    Args:
        repository: The repository.
        commit: The commit that is checked out.
        seconds: How long it may take.
        most: Bytes that are kept of it.
    """
    options = ("--no-color", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty")
    with _alone(repository, commit, copies_index=True) as run_git:
        found = run_git(["diff", *options, "HEAD", "--"], seconds, most)
    return None if found is None else found.decode("utf-8", "replace")


@contextmanager
def _alone(
    repository: Repository, commit: str, *, copies_index: bool = False
) -> Iterator[Callable[[list[str], float, int], bytes | None]]:
    """Give a way to call git that reads nothing of the repository's configuration.

    Args:
        repository: The repository.
        commit: The commit that is checked out.
        copies_index: The index may be written, hence it is a copy.
    """
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(prefix="trackyard-git-") as name:
        folder, index = Path(name), repository.folder / "index"
        for inner in ("objects", "refs"):
            (folder / inner).mkdir()
        (folder / "HEAD").write_text(commit + "\n", encoding="utf-8")
        (folder / "config").write_text(_own_configuration(repository, commit), encoding="utf-8")
        for part in repository.folder.glob("sharedindex.*"):
            (folder / part.name).symlink_to(part)
        if copies_index:
            with suppress(OSError):
                if index.stat().st_size <= _LARGEST_INDEX:
                    index = Path(shutil.copy2(index, folder / "index"))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        environment |= {
            "HOME": name,
            "XDG_CONFIG_HOME": name,
            "LC_ALL": "C",
            "GIT_DIR": name,
            "GIT_WORK_TREE": str(repository.top),
            "GIT_INDEX_FILE": str(index),
            "GIT_OBJECT_DIRECTORY": str(repository.shared / "objects"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_ALLOW_PROTOCOL": "none",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_PAGER": "cat",
        }

        def run_git(arguments: list[str], seconds: float, most: int) -> bytes | None:
            command = ["git", "--no-pager", "--no-optional-locks", "-c", "core.fsmonitor=false"]
            command += ["-c", f"core.hooksPath={os.devnull}", *arguments]
            return output_of(command, seconds, most, folder=repository.top, variables=environment)

        yield run_git


def output_of(
    command: list[str],
    seconds: float,
    most: int,
    *,
    folder: Path | None = None,
    variables: dict[str, str] | None = None,
) -> bytes | None:
    """Run a program and give what it writes; None where it fails or takes too long.

    Args:
        command: The program and its arguments.
        seconds: How long it may take.
        most: Bytes that are read; it is ended when there are as many.
        folder: Its working directory.
        variables: Its environment.
    """
    import subprocess

    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, cwd=folder, env=variables, **options
        )
    except OSError:  # it is not installed
        return None
    assert process.stdout is not None
    with process, _ended_after(process, seconds):
        found: bytes = process.stdout.read(most)
        if len(found) == most:
            process.kill()
            return found
        return found if process.wait() == 0 else None


@contextmanager
def _ended_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    from threading import Timer

    from trackyard.system.interruption import start_thread

    timer = Timer(seconds, process.kill)
    start_thread(timer)
    try:
        yield
    finally:
        timer.cancel()


def _own_configuration(repository: Repository, commit: str) -> str:
    words = [
        f"{key[2]} = {value}"
        for key, value in _configuration(repository)
        if key[:2] == ("core", "") and key[2] in _FILE_SYSTEM and value.isalnum()
    ]
    lines = ["[core]", "repositoryformatversion = 1", "bare = false", *words]
    if len(commit) == 64:
        lines += ["[extensions]", "objectformat = sha256"]
    return "\n".join(lines) + "\n"


def _configuration(repository: Repository) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Read the repository's own configuration, as far as it is written plainly."""
    section, part = "", ""
    for raw in _read(repository.shared / "config").splitlines():
        line = raw.strip()
        if head := re.match(r'\[([\w.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\]', line):
            section, part = head[1].lower(), re.sub(r"\\(.)", r"\1", head[2] or "")
            line = line[head.end() :].strip()
        if word := re.match(r"([A-Za-z][\w-]*)\s*(?:=\s*(.*))?$", line):
            value = re.sub(r"\s+[#;].*$", "", word[2] or "true").strip('"')
            yield (section, part, word[1].lower()), value


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_READ).decode("utf-8", "replace")
    except OSError:
        return ""
