"""Flavors with faults that wrappers of real SDKs have, each one."""

from __future__ import annotations

import base64
import gzip
import os
import shutil
import time
import unicodedata
import urllib.error
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import Any, ClassVar

from mutants.ledger import Ledger
from mutants.remote import RemoteLedger
from trackyard.contract import Batch, RetryLater, Run, flavor, hookimpl

_ODD_KEYS, _ODD_NAMES = "test_odd_keys_stay_apart", "test_artifacts_keep_their_names"


class _Naming(Ledger):
    """Has keys and names of its own."""

    def write(self, run, *lines):
        super().write(run, *((line[0], self.key(*line[:2]), *line[2:]) for line in lines))

    def key(self, kind: str, key: str) -> str:
        return key


@flavor
class KnowsNoCapitals(_Naming):
    """Keys are columns of a table that knows no capitals."""

    caught_by = _ODD_KEYS

    def key(self, kind, key):
        return key if kind == "artifact" else key.lower()


@flavor
class NormalizesKeys(_Naming):
    """A letter with its accent apart becomes one letter."""

    caught_by = _ODD_KEYS

    def key(self, kind, key):
        return key if kind == "artifact" else unicodedata.normalize("NFC", key)


@flavor
class StripsKeys(_Naming):
    """White space around a key is lost."""

    caught_by = _ODD_KEYS

    def key(self, kind, key):
        return key if kind == "artifact" else key.strip()


@flavor
class KeepsKeysInATree(Ledger):
    """A key is a leaf of a tree, and what is below another one takes its place."""

    caught_by = _ODD_KEYS

    def write(self, run, *lines):
        above = {line[1].rpartition("/")[0] for line in lines if line[0] == "metric"}
        super().write(run, *(l for l in lines if l[0] != "metric" or l[1] not in above))  # noqa: E741


class _Copying(Ledger):
    """Copies files by a way of its own."""

    def kept(self, run, batch):
        for artifact in batch.artifacts:
            target = self.directory / run.id / self.name(artifact.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.content(artifact.name, artifact.path.read_bytes()))
            yield "artifact", artifact.name, str(target)

    def name(self, name: str) -> str:
        return name

    def content(self, name: str, content: bytes) -> bytes:
        return content


@flavor
class WritesNamesWithoutBlanks(_Copying):
    """A file's blanks become underscores, and two files one."""

    caught_by = _ODD_NAMES

    def name(self, name):
        return name.replace(" ", "_")


@flavor
class WritesNamesWithoutEnding(_Copying):
    """What a file is called up to its ending says where it goes."""

    caught_by = _ODD_NAMES

    def name(self, name):
        return str(PurePosixPath(name).with_suffix(".bin"))


@flavor
class WritesNamesInSmallLetters(_Copying):
    """Names of files know no capitals."""

    caught_by = _ODD_NAMES

    def name(self, name):
        return name.lower()


@flavor
class SendsTheFirstPart(_Copying):
    """Of a large file the first part is uploaded."""

    caught_by = "test_bytes_are_kept"

    def content(self, name, content):
        return content[: 2**20]


@flavor
class TakesMarksForEncodings(_Copying):
    """A mark of the encoding at a file's begin is left out."""

    caught_by = "test_bytes_are_kept"

    def content(self, name, content):
        return content.removeprefix(b"\xef\xbb\xbf")


@flavor
class UnpacksWhatIsPacked(_Copying):
    """What is packed is unpacked on its way, as HTTP does."""

    caught_by = "test_bytes_are_kept"

    def content(self, name, content):
        return gzip.decompress(content) if content.startswith(b"\x1f\x8b\x08") else content


@flavor
class LosesEmptyTags(Ledger):
    """A tag without a text is none."""

    caught_by = "test_tags_are_exact"

    def write(self, run, *lines):
        super().write(run, *(line for line in lines if line[0] != "tag" or line[2]))


@flavor
class LosesTheSignOfInfinity(Ledger):
    """What is no number is one number."""

    caught_by = "test_not_a_number_is_kept"

    def write(self, run, *lines):
        super().write(run, *map(self.unsigned, lines))

    def unsigned(self, line: tuple[Any, ...]) -> tuple[Any, ...]:
        is_infinite = line[0] == "metric" and line[2] == float("-inf")
        return (*line[:2], float("inf"), *line[3:]) if is_infinite else line


@flavor
class OpensAnotherRunWhenResumed(Ledger):
    """Each time that a run is open is a run of its own."""

    caught_by = "test_resumed_run_is_running_and_ends_once_more"

    def path(self, run):
        return self.directory / f"{run.id}{f'-{run.resumed}' if run.resumed else ''}.jsonl"


@flavor
class CutsTheId(Ledger):
    """A run is known by the first letters of its id."""

    caught_by = "test_two_runs_at_once_do_not_mix"

    def path(self, run):
        return self.directory / f"{run.id[:8]}.jsonl"


@flavor
class KeepsOneHandleOfARun(Ledger):
    """What was opened for a run serves every tracker of it."""

    caught_by = "test_two_trackers_of_one_run_keep_apart"
    places: ClassVar[dict[str, Any]] = {}

    def path(self, run):
        return self.places.setdefault(run.id, super().path(run))


@flavor
class EndsWithTheActivation(Ledger):
    """Leaving the block is taken for the run's end, and says finished."""

    caught_by = "test_run_has_no_end_before_it_ends"

    def active(self, run, capture):
        stack = ExitStack()
        stack.callback(self.end, run, "finished")
        stack.enter_context(super().active(run, capture))
        return stack


@flavor
class NotesItsHeader(Ledger):
    """The header that it has sent stands in a file of the run, encoded."""

    caught_by = "test_secrets_are_shown_nowhere"

    def end(self, run, status):
        if self.token is not None:
            header = base64.b64encode(f"user:{self.token.reveal()}".encode())
            (run.folder / "request.log").write_bytes(b"Authorization: Basic " + header)
        super().end(run, status)


@flavor
class TriesForEver(RemoteLedger):
    """It comes back when the server has taken what is sent, and not before."""

    caught_by = "test_server_that_goes_away_is_not_waited_for"
    where = "tracker_log"

    @hookimpl
    def tracker_log(self, run: Run, batch: Batch) -> None:
        while True:
            try:
                return super().tracker_log(run, batch)
            except Exception:
                time.sleep(0.5)


@flavor
class ForgetsRefusals(RemoteLedger):
    """What the server refuses is not said to anybody."""

    caught_by = "test_storm_loses_and_doubles_nothing"
    where = "log and 400"

    def send(self, run, lines):
        try:
            super().send(run, lines)
        except urllib.error.HTTPError as error:
            if error.code != 400:
                raise


@flavor
class TakesParamsFirst(Ledger):
    """Params that come after the first point are too late."""

    caught_by = "test_batches_of_one_are_taken"

    def write(self, run, *lines):
        path = self.path(run)
        is_late = path.exists() and '["metric"' in path.read_text(encoding="utf-8")
        super().write(run, *(line for line in lines if not is_late or line[0] != "param"))


@flavor
class KeepsTagsAsParams(_Naming):
    """Tags and params are one table, and one of a key takes the other's place."""

    caught_by = "test_kinds_of_one_name_stay_apart"

    def write(self, run, *lines):
        super().write(run, *(("param", *line[1:]) if line[0] == "tag" else line for line in lines))


@flavor
class TidiesUp(Ledger):
    """At its end the folder that it was given is removed."""

    caught_by = "test_folder_of_the_run_is_kept"

    def end(self, run, status):
        super().end(run, status)
        shutil.rmtree(run.folder, ignore_errors=True)


@flavor
class LocksItsRun(Ledger):
    """A file says that somebody writes the run, until it ends."""

    caught_by = "test_killed_run_is_crashed_and_whole"

    @hookimpl
    def tracker_start_run(self, run: Run) -> None:
        super().tracker_start_run(run)
        lock = self.path(run).with_suffix(".lock")
        if lock.exists() and lock.read_text() != str(os.getpid()):
            raise RetryLater("another process writes the run")
        lock.write_text(str(os.getpid()))

    def end(self, run, status):
        super().end(run, status)
        self.path(run).with_suffix(".lock").unlink(missing_ok=True)
