"""How does a run get to know where it comes from, without that a step waits for it?

What is known at once goes before the first entry of its journal. A helper of the process reads
repository and packages, once for all runs; a thread, which waits for its answers and does nothing
else, writes them into the journals of the runs that have begun meanwhile. Steps of which nothing is
written, and that are over in a moment, need no helper.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Protocol, Self

import attrs

from trackyard.contract.context import Context
from trackyard.contract.records import Artifact
from trackyard.journal.contexts import DIFF, first_context
from trackyard.journal.entries import Entry
from trackyard.journal.writer import JournalWriter
from trackyard.redaction.redactor import Redactor
from trackyard.system.conditions import Event
from trackyard.system.descriptors import OwnFile
from trackyard.system.forks import leave_in_forked_child
from trackyard.system.helpers import bare_command
from trackyard.system.interruption import start_thread
from trackyard.tracking.context import context_at_once

logger = logging.getLogger("trackyard")

# What differs where a step runs elsewhere; the code is the driver's.
_OF_PLACE = frozenset({"host", "hardware", "job", "packages"})
# Seconds after which it is started at the latest, though nothing was written yet.
_GRACE = 0.1
# What the helper finds.
_SLOW = {"git", "packages", "hardware", "diff"}


class Told(Protocol):
    """A run that is told where it comes from."""

    journal: JournalWriter
    redactor: Redactor
    context: Context | None


@attrs.frozen(eq=False)
class _Followed:
    """A run that waits for the helper's answer, and where its journal is once it is over."""

    run: weakref.ref[Told]
    folder: Path
    session: int
    redactor: Redactor

    @classmethod
    def of(cls, run: Told) -> Self:
        return cls(weakref.ref(run), run.journal.folder, run.journal.session, run.redactor)


class Collection:
    """What this process knows of where its runs come from.

    Args:
        parts: What is collected.
        redactor: Keeps secrets out of it; that of the first run.
        command: A command that is tracked; that of this process by default.
    """

    def __init__(
        self, parts: frozenset[str], redactor: Redactor, command: tuple[str, ...] | None = None
    ) -> None:
        self._parts = parts
        self._context = context_at_once(parts, redactor, command)
        self._plain = self._context.plain()  # it goes to each run
        self._diff = ""
        self._lock = Lock()
        self._runs: list[_Followed] = []
        self._asking: OwnFile | None = None
        self._answers: OwnFile | None = None
        self._process = 0
        self._is_awaited = self._is_asked = False
        self._wanted = Event()
        self._question: dict[str, Any] | None = None
        leave_in_forked_child(self)
        if parts & _SLOW:
            folders = _folders_of(command)
            self._question = {"collect": sorted(parts), "path": [*sys.path], "folders": folders}
            self._await_helper()

    def follow(self, run: Told) -> None:
        """Tell a run what is known, and what becomes known later.

        Args:
            run: A run of which nothing is written yet.
        """
        with self._lock:
            run.context = self._context
            introduction = _entry_of(self._plain, is_awaited=self._is_awaited)
            run.journal.introduce(introduction, self.ask)
            if not self._is_awaited and self._asking is None:
                self._tell_diff(run.journal, run.redactor)
                return
            self._runs.append(_Followed.of(run))
            self._say(str(run.journal.folder))

    def ask(self) -> None:
        """Start the helper now, unless it was started; it never waits, whoever calls it."""
        if not self._is_asked and self._lock.acquire(blocking=False):
            try:
                self._ask()
            finally:
                self._lock.release()
            self._wanted.set()

    def _await_helper(self) -> None:
        """Start the thread that waits for the helper's answers, and for the moment to start it."""
        self._is_awaited = True
        thread = Thread(target=self._listen, name="trackyard-context", daemon=True)
        try:
            start_thread(thread)
        except (RuntimeError, MemoryError):  # the process has too many
            self._stop_asking()
            self._question = None

    def _ask(self) -> None:
        """Start the helper, and tell it of the runs that have begun. The lock is held."""
        if self._is_asked or self._question is None:
            return
        self._is_asked = True
        try:
            self._process, self._asking, self._answers = _start()
        except Exception as error:  # a log call may be what has it started
            logger.debug("no packages and no repository: %s", error)
            self._is_awaited = False
            return
        self._say(json.dumps(self._question))
        for followed in self._runs:
            self._say(str(followed.folder))

    def _say(self, line: str) -> None:
        if self._asking is None:
            return
        with suppress(OSError):  # it has ended
            os.write(self._asking.checked(), line.encode() + b"\n")

    def _listen(self) -> None:
        """Take the helper's answers until it has ended."""
        self._wanted.wait(_GRACE)
        with self._lock:
            self._ask()
            answers = self._answers
        if answers is None:
            return
        try:
            for line in _lines_from(answers):
                self._take(json.loads(line))
            os.waitpid(self._process, 0)
        except (OSError, ValueError) as error:
            logger.debug("the helper for the context: %s", error)
        finally:
            with self._lock:
                self._stop_asking()

    def _take(self, answer: dict[str, Any]) -> None:
        with self._lock:
            self._diff = str(answer.pop("diff", self._diff))
            found = Context.from_plain(answer)
            self._context = self._context.updated(found)
            self._plain = self._context.plain()
            self._is_awaited = False
            for followed in self._runs:
                run = followed.run()
                if run is None:
                    self._tell_late(followed, found)
                else:
                    run.context = self._context
                    # What is known already may have been said better by the step's own process.
                    new = found.plain() if run.journal.has_entries else self._plain
                    _write(run.journal, _entry_of(new, is_awaited=False))
                    self._tell_diff(run.journal, run.redactor)
            self._say("ok")

    def _tell_late(self, followed: _Followed, found: Context) -> None:
        """Tell a run that was over before there was an answer, as a short step is."""
        if not followed.folder.is_dir():  # nothing was written of it
            return
        with closing(_late(followed.folder, followed.session)) as journal:
            journal.append(_entry_of(found.plain(), is_awaited=False))
            self._tell_diff(journal, followed.redactor)

    def _tell_diff(self, journal: JournalWriter, redactor: Redactor) -> None:
        if not self._diff:
            return
        with journal.blobs.staging(DIFF) as staged:
            staged.write_text(redactor.redact(self._diff), encoding="utf-8")
            now = time.time_ns()
            artifact = Artifact(DIFF, staged, "text", "text/x-diff", timestamp=now)
            _write(journal, Entry("artifact", now, None, artifact))

    def _stop_asking(self) -> None:
        self.leave_to_parent()
        self._is_awaited = False
        self._runs.clear()

    def leave_to_parent(self) -> None:
        """Close what leads to the helper and from it."""
        for file in (self._asking, self._answers):
            if file is not None:
                with suppress(OSError):
                    file.close()
        self._asking = self._answers = None


def tell_context(
    run: Told,
    parts: frozenset[str],
    command: tuple[str, ...] | None = None,
    *,
    is_brief: bool = False,
) -> None:
    """Tell a run that begins where it comes from; it never raises.

    Args:
        run: The run.
        parts: What is collected.
        command: The command that it tracks, where that is another process.
        is_brief: It may be over in a moment, with nothing written of it.
    """
    if not parts:
        return
    try:
        collection = collection_of(os.getpid(), parts, command)(run.redactor)
        collection.follow(run)
        if not is_brief:
            collection.ask()
    except Exception as error:  # the step is sacred
        logger.debug("no context: %s", error)


def tell_place(run: Told, parts: frozenset[str]) -> None:
    """Tell a run of another process where its step runs, if that is on another machine.

    Args:
        run: The run, as it is open here.
        parts: What is collected.
    """
    known = first_context(run.journal.folder)
    if known is None or known.host != os.uname().nodename:
        tell_context(run, parts & _OF_PLACE)


@lru_cache(maxsize=8)
def collection_of(
    process: int,  # noqa: ARG001 - a key of the cache
    parts: frozenset[str],
    command: tuple[str, ...] | None,
) -> Callable[[Redactor], Collection]:
    """Give the collection of a process, which the first one that asks begins.

    Args:
        process: A forked child has one of its own.
        parts: What is collected.
        command: The command that is tracked, where that is another process.
    """
    made: list[Collection] = []
    lock = Lock()

    def collection(redactor: Redactor) -> Collection:
        with lock:
            if not made:
                made.append(Collection(parts, redactor, command))
            return made[0]

    return collection


def _entry_of(plain: dict[str, Any], *, is_awaited: bool) -> Entry:
    awaited = {"is_awaited": True} if is_awaited else {}
    return Entry("context", time.time_ns(), None, {**plain, **awaited})


def _write(journal: JournalWriter, entry: Entry) -> None:
    """Write an entry into a run's journal; where the run has ended, beside it."""
    is_context = entry.kind == "context"
    if is_context and journal.introduce(entry):
        return
    if not is_context and not journal.has_end:
        journal.append(entry)
    elif journal.folder.is_dir():
        with closing(_late(journal.folder, journal.session)) as late:
            late.append(entry)


def _late(folder: Path, session: int) -> JournalWriter:
    """Give a writer beside a run's own, which has ended."""
    return JournalWriter(folder, "child", makes_folder=False, session=session)


def _folders_of(command: tuple[str, ...] | None) -> list[str]:
    """Give the folders in one of which the code is: that of the script, the working directory."""
    script = getattr(sys.modules.get("__main__"), "__file__", None) if command is None else None
    folder = Path(script).absolute().parent if script else None
    # A program of the environment, such as `pytest`, is not what is worked on.
    is_own = folder is not None and not folder.is_relative_to(sys.prefix)
    folders = [str(folder)] if is_own else []
    with suppress(OSError):
        folders.append(str(Path.cwd()))
    return folders


def _lines_from(file: OwnFile) -> Iterator[bytes]:
    """Give the lines of a pipe as they come.

    Raises:
        OSError: It was closed by somebody else.
    """
    rest = b""
    while chunk := os.read(file.checked(), 65536):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def _start() -> tuple[int, OwnFile, OwnFile]:
    """Start the helper; give its process, where it is asked, and where it answers."""
    asked, asking = os.pipe()
    answers, answering = os.pipe()
    null = ("/dev/null", os.O_RDWR, 0)
    actions = [
        (os.POSIX_SPAWN_DUP2, asked, 0),
        (os.POSIX_SPAWN_DUP2, answering, 1),
        (os.POSIX_SPAWN_OPEN, 2, *null),
    ]
    command = bare_command("trackyard.tracking.context_helper")
    try:
        # A session of its own: Ctrl-C on a terminal goes to the whole group of the runner.
        started = os.posix_spawn(
            sys.executable, command, os.environ, file_actions=actions, setsid=True
        )
    except BaseException:
        os.close(asking)
        os.close(answers)
        raise
    finally:
        os.close(asked)
        os.close(answering)
    return started, OwnFile(asking), OwnFile(answers)
