"""Flavors that harm the process, the machine or their secrets, or say that they keep what they
do not, each one.
"""

from __future__ import annotations

import atexit
import gc
import http.client
import json
import logging
import multiprocessing
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import attrs

from mutants.ledger import Ledger
from trackyard.contract import flavor, hookimpl


class _Starting(Ledger):
    """Does something as a run starts."""

    @hookimpl
    def tracker_start_run(self, run):
        super().tracker_start_run(run)
        self.started(run)

    def started(self, run: Any) -> None:
        raise NotImplementedError


@flavor
class SetsTheTimeoutOfAllSockets(_Starting):
    """Its time limit holds for the user's connections, too."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        socket.setdefaulttimeout((socket.getdefaulttimeout() or 30) + 1)


@flavor
class SilencesWarnings(_Starting):
    """Warnings of the user's code are no longer shown."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        warnings.filterwarnings("ignore", message=run.id)


@flavor
class SeedsTheGenerator(_Starting):
    """The user's random numbers begin anew with each run."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        random.seed(run.id)


@flavor
class DrawsANumber(_Starting):
    """A name is drawn from the generator that the user has seeded."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        self.write(run, ("tag", "alias", str(random.randrange(10**6))))


@flavor
class TurnsLoggingUp(_Starting):
    """The root logger's level is its own."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        root = logging.getLogger()
        root.setLevel(root.level + 1)


@flavor
class ConfiguresLogging(_Starting):
    """A program's own `logging.basicConfig` does nothing any more."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        logging.basicConfig(level=logging.INFO)


@flavor
class SetsTheSameLimitEachTime(_Starting):
    """What it sets is what its first run has set."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        sys.setrecursionlimit(5000)


@flavor
class TrustsEveryServer(_Starting):
    """No certificate is looked at any more, in the whole process."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        ssl._create_default_https_context = ssl._create_unverified_context


@flavor
class ShowsAllRequests(_Starting):
    """Requests of the whole process are printed, with their headers."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        http.client.HTTPConnection.debuglevel = 1


@flavor
class LeavesAFolder(_Starting):
    """What it has written for a moment is deleted, and not the folder that it was in."""

    caught_by = "test_home_and_temporary_folders_stay_clean"

    def started(self, run):
        tempfile.mkdtemp()


@flavor
class SwitchesLoggingOff(_Starting):
    """Logging stays disabled."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        logging.disable(logging.root.manager.disable + 1)


@flavor
class TakesCtrlC(Ledger):
    """Ctrl-C is handled by it from the first run on."""

    caught_by = "test_process_is_as_it_was_before"

    @contextmanager
    def active(self, run, capture):
        signal.signal(signal.SIGINT, lambda *_: None)
        with super().active(run, capture):
            yield


@flavor
class ChangesAttachedProcesses(_Starting):
    """In a process that continues a run it sets the sockets' time-out."""

    caught_by = "test_attached_run_leaves_the_process_alone"

    def started(self, run):
        if run.attached:
            socket.setdefaulttimeout((socket.getdefaulttimeout() or 30) + 1)


@flavor
class LeavesAThread(_Starting):
    """A thread of its own outlives the run, and keeps the interpreter alive."""

    caught_by = "test_threads_are_ended"

    def started(self, run):
        threading.Thread(target=time.sleep, args=(20,), name="ledger").start()


@flavor
class LeavesADaemon(_Starting):
    """With each run there is a thread more."""

    caught_by = "test_threads_are_ended"

    def started(self, run):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


@flavor
class LeavesFilesOpen(_Starting):
    """The files of runs that ended stay open."""

    caught_by = "test_descriptors_are_closed"

    _open: ClassVar[list[Any]] = []

    def started(self, run):
        self._open.append(self.path(run).open("a"))


RUNS: dict[str, str] = {}


@flavor
class RemembersAllRuns(_Starting):
    """A table of all runs grows."""

    caught_by = "test_globals_do_not_grow"

    def started(self, run):
        RUNS[run.id] = run.name


@flavor
class WritesIntoHome(_Starting):
    """It keeps a cache in the user's home."""

    caught_by = "test_home_and_temporary_folders_stay_clean"

    def started(self, run):
        cache = Path.home() / ".ledger"
        cache.mkdir(exist_ok=True)
        (cache / "last").write_text(run.id)


@flavor
class LeavesTemporaryFiles(Ledger):
    """A copy of each artifact stays in the folder for temporary files."""

    caught_by = "test_home_and_temporary_folders_stay_clean"

    def write(self, run, *lines):
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            json.dump(lines, file)
        super().write(run, *lines)


class _Telling(_Starting):
    """Says something about its token."""

    def started(self, run):
        if self.token is not None:
            self.tell(run, self.token.reveal())

    def tell(self, run: Any, token: str) -> None:
        raise NotImplementedError


@flavor
class KeepsItsToken(_Telling):
    """The token is read once, and stays in a header that is kept."""

    caught_by = "test_secrets_are_kept_in_no_attribute"
    _headers: dict[str, str] = attrs.field(init=False, factory=dict)

    def tell(self, run, token):
        self._headers["Authorization"] = f"Bearer {token}"


@flavor
class PrintsItsToken(_Telling):
    """The token stands on stderr."""

    caught_by = "test_secrets_are_shown_nowhere"

    def tell(self, run, token):
        print(f"logged in with {token}", file=sys.stderr)


@flavor
class LogsItsToken(_Telling):
    """The token stands in the log, at the level for debugging."""

    caught_by = "test_secrets_are_shown_nowhere"

    def tell(self, run, token):
        logging.getLogger("ledger").debug("Authorization: Bearer %s", token)


@flavor
class WritesItsTokenDown(_Telling):
    """The token stands in a file of the run."""

    caught_by = "test_secrets_are_shown_nowhere"

    def tell(self, run, token):
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / "session.json").write_text(json.dumps({"token": token}))


@flavor
class PutsItsTokenIntoTheUrl(Ledger):
    """The address opens the run by the token."""

    caught_by = "test_url_carries_no_credential"

    @hookimpl
    def tracker_url(self, run):
        key = self.token.reveal() if self.token else ""
        return f"{self.path(run).as_uri()}?t={key}"


@flavor
class WritesInTheBackground(Ledger):
    """What tracker_log returned from is written a moment later."""

    caught_by = "test_acknowledged_batch_is_durable"

    @hookimpl
    def tracker_log(self, run, batch):
        log = super().tracker_log
        thread = threading.Timer(30, log, (run, batch))
        thread.daemon = True
        thread.start()


@flavor
class WritesOnEveryThirdCall(Ledger):
    """Batches are gathered."""

    caught_by = "test_acknowledged_batch_is_durable"

    _kept: list[Any] = attrs.field(init=False, factory=list)

    @hookimpl
    def tracker_log(self, run, batch):
        self._kept.append(batch)
        if len(self._kept) == 3:
            self._write(run)

    def end(self, run, status):
        self._write(run)
        super().end(run, status)

    def _write(self, run: Any) -> None:
        for batch in self._kept:
            super().tracker_log(run, batch)
        self._kept.clear()


@flavor
class NeverFlushes(Ledger):
    """Its file is open, and lines wait in the buffer."""

    caught_by = "test_acknowledged_batch_is_durable"

    _file: Any = attrs.field(init=False, default=None)

    def write(self, run, *lines):
        self._file = self._file or self.path(run).open("a", encoding="utf-8")
        self._file.writelines(json.dumps(line) + "\n" for line in lines)

    def end(self, run, status):
        super().end(run, status)
        self._file.close()
        self._file = None


@flavor
class CopiesFilesLater(Ledger):
    """A batch's files are copied at the end."""

    caught_by = "test_acknowledged_batch_is_durable"

    _kept: list[Any] = attrs.field(init=False, factory=list)

    def kept(self, run, batch):
        self._kept += batch.artifacts
        return iter(())

    def end(self, run, status):
        from trackyard.contract import Batch

        super().write(run, *super().kept(run, Batch.of(tuple(self._kept), 1, len(self._kept))))
        super().end(run, status)


@flavor
class SetsOneTimeout(_Starting):
    """The time limit of all sockets is set to the same by each run."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        socket.setdefaulttimeout(37.5)


@flavor
class StopsTheCollector(_Starting):
    """Garbage is collected no more, which makes its own loop quicker."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        gc.disable()


@flavor
class ChoosesHowProcessesStart(_Starting):
    """Its SDK needs processes that are spawned, and so are the user's from now on."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        multiprocessing.set_start_method("spawn", force=True)


@flavor
class LeavesOneVariable(_Starting):
    """Tells its SDK by a variable, which stays."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        os.environ["LEDGER_MODE"] = "quiet"


@flavor
class WritesAnythingAsJson(_Starting):
    """What the user cannot write as JSON is written as a text from now on."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        json.JSONEncoder.default = lambda _, value: str(value)


@flavor
class TracesThreads(_Starting):
    """Looks at what the user's threads do."""

    caught_by = "test_process_is_as_it_was_before"

    def started(self, run):
        threading.settrace(lambda *_: None)


@flavor
class SetsOneLevel(_Starting):
    """Shows its own messages, and everybody else's."""

    caught_by = "test_attached_run_leaves_the_process_alone"

    def started(self, run):
        logging.getLogger().setLevel(logging.DEBUG)


@flavor
class EndsAtTheExit(_Starting):
    """Each run is finished once more when the interpreter ends."""

    caught_by = "test_threads_are_ended"

    def started(self, run):
        atexit.register(self.noted, run.id)

    def noted(self, run_id):
        """Note that a run has ended."""


@flavor
class LeavesAProcess(_Starting):
    """Each run has a service of its own, which goes on for a while."""

    caught_by = "test_threads_are_ended"

    def started(self, run):
        service = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(20)"])
        service.returncode = 0  # nobody waits for it


@flavor
class KeepsALink(Ledger):
    """The file is there already: why copy it?"""

    caught_by = "test_artifacts_are_the_backends_own"

    def kept(self, run, batch):
        for artifact in batch.artifacts:
            yield "artifact", artifact.name, str(artifact.path)


class _OncePerProgram(_Starting):
    """Does something at the first start of a program, here in one of its own alone."""

    def started(self, run):
        spec = sys.modules["__main__"].__spec__
        if spec is not None and spec.name == "trackyard.testing.scenarios":
            self.begin()

    def begin(self) -> None:
        raise NotImplementedError


@flavor
class KeepsTheInterpreterAlive(_OncePerProgram):
    """One thread for all runs waits for more, and the program never ends."""

    caught_by = "test_threads_are_ended"

    def begin(self):
        threading.Thread(target=time.sleep, args=(60,), name="ledger-uploads", daemon=False).start()


@flavor
class TakesItsTimeAtTheExit(_OncePerProgram):
    """At the end of a program it waits for what may still be on its way."""

    caught_by = "test_threads_are_ended"

    def begin(self):
        atexit.register(time.sleep, 5)


@flavor
class LeavesTheTokenToChildren(Ledger):
    """The token stays in a variable, for the SDK: every program that is started later has it."""

    caught_by = "test_secrets_are_shown_nowhere"

    @hookimpl
    def tracker_start_run(self, run):
        if self.token is not None:
            os.environ["LEDGER_TOKEN"] = self.token.reveal()
        super().tracker_start_run(run)
