"""What does the author of a materializer subclass, and what is checked?"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, cast

import pytest

from trackyard.contract.materializers import Materializer, needs_trust
from trackyard.outputs.artifact_store import ArtifactStore
from trackyard.outputs.formats import FIRST, Materializers
from trackyard.testing.base import Suite
from trackyard.testing.contract import BrokenContract, check, expect, skip_unless_it_applies
from trackyard.testing.reloading import Stream, loaded, saved
from trackyard.testing.values import edge_values, is_same, strange_values

Same = Callable[[Any, Any], bool]

# Seconds that another process may take to load and save the values of a check.
_PATIENCE = 120.0


class Shelf:
    """A format, what it has to hold, and what another process sees of it.

    Args:
        materializer: The format.
        values: What it has to hold.
        same: Tells whether two values are the same.
        folder: Where its files lie, and those of other checks of the class.
    """

    def __init__(
        self, materializer: Materializer, values: Sequence[Any], same: Same, folder: Path
    ) -> None:
        self.materializer = materializer
        self.values = list(values)
        self.same = same
        self.folder = folder

    @cached_property
    def held(self) -> dict[str, Any]:
        """All values that the format holds, by a name: those of its author, and edge values."""
        found = {_shown(number, value): value for number, value in enumerate(self.values)}
        return found | {
            name: value
            for name, value in edge_values().items()
            if self.can_save(value) and self.can_be_saved(value)
        }

    def can_save(self, value: Any) -> bool:
        """Ask the format; an error is a no, as to the artifact store."""
        try:
            return bool(self.materializer.can_save(value))
        except Exception:  # which has a check of its own
            return False

    def can_be_saved(self, value: Any, room: int | None = None) -> bool:
        """Save a value; tell whether that raised nothing.

        Args:
            value: What is saved.
            room: Bytes that the disk can take; None for any number.
        """
        try:
            saved(self.materializer, value, room)
        except Exception:
            return False
        return True

    def bytes_of(self, name: str, value: Any) -> bytes:
        """Save a value; what that raises is said of it.

        Args:
            name: What the value is called.
            value: The value.
        """
        try:
            return saved(self.materializer, value)
        except Exception as error:
            kind = type(error).__name__
            raise BrokenContract(f"{name} cannot be saved: {kind}: {error}") from error

    def why_not(self, value: Any) -> str:
        """Say why the artifact store passes the format over."""
        if not self.can_save(value):
            return "can_save says no, or raises"
        try:
            saved(self.materializer, value)
        except Exception as error:
            return f"save raised {type(error).__name__}: {error}"
        return f"another format has the name {self.materializer.name!r}"

    def comes_back(self, value: Any) -> bool:
        """Save and load a value, and tell whether it is the same."""
        return self.same(value, loaded(self.materializer, saved(self.materializer, value)))

    def expect_back(self, name: str, value: Any) -> None:
        """Require that a value comes back; what saving or loading raises is said of that value.

        Args:
            name: What the value is called.
            value: The value.
        """
        try:
            is_back = self.comes_back(value)
        except Exception as error:
            kind = type(error).__name__
            raise BrokenContract(f"{name} does not come back: {kind}: {error}") from error
        expect(is_back, f"{name} came back changed")

    @cached_property
    def report(self) -> dict[str, Any]:
        """What another process saw that loaded the values and saved them again."""
        done, problem = self._elsewhere / "report.json", self._elsewhere / "problem"
        if not done.exists() and not problem.exists():
            self._reload(problem)
        if problem.exists():  # of each check that needs it, in the same words
            raise BrokenContract(problem.read_text(encoding="utf-8"))
        report: dict[str, Any] = json.loads(done.read_text())
        return report

    def again(self, number: int) -> bytes:
        """Give what the other process has saved."""
        return (self._elsewhere / f"{number}.again").read_bytes()

    @cached_property
    def _elsewhere(self) -> Path:
        """Where the other process works: once for all checks whose files are the same."""
        files = {
            f"{number}.file": self.bytes_of(name, value)
            for number, (name, value) in enumerate(self.held.items())
        }
        files["materializer"] = pickle.dumps(self.materializer)
        known = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        folder = self.folder / known
        if not folder.exists():
            folder.mkdir()
            for name, data in files.items():
                (folder / name).write_bytes(data)
        return folder

    def _reload(self, problem: Path) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "trackyard.testing.reloading", str(self._elsewhere)],
                check=False,
                # Sets are in another order there.
                env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "7"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_PATIENCE,
            )
        except subprocess.TimeoutExpired:
            text = f"another process had not loaded and saved the values after {_PATIENCE:g} s"
            problem.write_text(text, encoding="utf-8")
            return
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            number, _, why = last.partition(" ")
            what = (
                f"{[*self.held][int(number)]}: {why}" if number.isdecimal() else f"a file: {last}"
            )
            text = f"another process could not load and save {what}"
            problem.write_text(text, encoding="utf-8")


def runs_no_code(shelf: Shelf) -> str | None:
    """Require that the format does not say that it runs code."""
    return "the format declares needs_trust" if needs_trust(shelf.materializer) else None


class MaterializerSuite(Suite):
    """Checks that a materializer keeps the contract. Subclass it, and pytest runs them all.

    Fixtures of the subclass:
        materializer: The object that the entry point names.
        values: A list of values that it has to hold: the more of their edges, the better.
        same: A function that tells whether two values are the same; only where the values cannot
            be compared by `==`, nor by the fields of an attrs class or dataclass.

    Attributes:
        expected_failures: Reasons by name of checks that the materializer cannot pass; one that
            passes all the same is a failure.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def materializer(self) -> Materializer:
        """Give the format. Every subclass has its own."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a fixture `materializer` that gives the format"
        )

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        """Give values that the format has to hold. Every subclass has its own."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a fixture `values` that gives a list of values"
        )

    @pytest.fixture
    def same(self) -> Same:
        """Give a function that tells whether two values are the same."""
        return is_same

    @pytest.fixture(scope="class")
    @classmethod
    def _shelves(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Make the folder of the files of all checks: another process sees them once."""
        return tmp_path_factory.mktemp("shelves")

    @pytest.fixture
    def shelf(
        self,
        request: pytest.FixtureRequest,
        materializer: Materializer,
        values: Sequence[Any],
        same: Same,
        _shelves: Path,
        _project: Path,
    ) -> Shelf:
        """Give the format and its values, unless the check does not apply to it.

        Args:
            request: Of the check.
            materializer: The fixture `materializer`.
            values: The fixture `values`.
            same: The fixture `same`.
        """
        shelf = Shelf(materializer, values, same, _shelves)
        skip_unless_it_applies(request.function, shelf)
        return shelf

    @check("name is what is recorded with an output, suffix ends its file's name.")
    def test_name_and_suffix_are_fit_for_a_file(self, shelf: Shelf) -> None:
        """Texts that say the same in each process and on each disk."""
        name, suffix = shelf.materializer.name, shelf.materializer.suffix
        expect(re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name) is not None, f"name is {name!r}")
        expect(re.fullmatch(r"(\.[A-Za-z0-9]+)+", suffix) is not None, f"suffix is {suffix!r}")

    @check("The artifact store takes the format for the values that it holds.")
    def test_artifact_store_takes_it(self, shelf: Shelf) -> None:
        """Its name is free, and no error stands in the way."""
        formats = Materializers(lambda: [shelf.materializer])
        store = ArtifactStore(str(shelf.folder), is_trusted=True, materializers=formats)
        for number, value in enumerate(shelf.values):
            stored = store.save(f"run/{number}", value)
            name = _shown(number, value)
            used = stored.materializer == shelf.materializer.name
            why = f"{name} was stored as {stored.materializer}"
            if stored.materializer in FIRST:
                why += ": texts, JSON and bytes are Trackyard's own; leave it out of `values`"
            elif not used:
                why += f": {shelf.why_not(value)}"
            expect(used, why)
            expect(shelf.same(value, store.load(stored)), f"{name} came back changed")

    @check("can_save says yes to what comes back equal and of the same type.")
    def test_values_are_taken(self, shelf: Shelf) -> None:
        """The values of the author."""
        for number, value in enumerate(shelf.values):
            answer = shelf.materializer.can_save(value)
            expect(answer is True, f"of {_shown(number, value)} can_save says {answer!r}")

    @check("can_save raises nothing, whatever the value.")
    def test_can_save_raises_nothing(self, shelf: Shelf) -> None:
        """It is asked of every value that a step gives."""
        for name, value in {**edge_values(), **strange_values()}.items():
            try:
                answer = shelf.materializer.can_save(value)
            except Exception as error:
                kind = type(error).__name__
                raise BrokenContract(f"of {name} can_save raised {kind}: {error}") from error
            expect(isinstance(answer, bool), f"of {name} can_save says {answer!r}")

    @check("A value comes back equal and of the same type.")
    def test_values_come_back(self, shelf: Shelf) -> None:
        """The values of the author, to the last bit."""
        for number, value in enumerate(shelf.values):
            shelf.expect_back(_shown(number, value), value)

    @check("load gives each caller a value of its own, which the next step may change.")
    def test_each_load_gives_a_value_of_its_own(self, shelf: Shelf) -> None:
        """What can be hashed is not changed, so that it may be the same one."""
        for number, value in enumerate(shelf.values):
            name = _shown(number, value)
            data = shelf.bytes_of(name, value)
            first, second = (loaded(shelf.materializer, data) for _ in range(2))
            is_shared = first is second and not _can_be_hashed(first)
            expect(not is_shared, f"{name} was loaded twice, and was one value both times")

    @check("What can_save says yes to and save takes comes back equal and of the same type.")
    def test_edge_values_come_back(self, shelf: Shelf) -> None:
        """NaN, -0.0, nothing, odd texts, nested, large, of a class that is more: or a no."""
        for name, value in shelf.held.items():
            shelf.expect_back(name, value)

    @check("A subclass is more than its base: can_save says no, or it comes back as what it is.")
    def test_subclass_is_not_taken_for_its_base(self, shelf: Shelf) -> None:
        """The values of the author, as ones of a class below theirs."""
        for number, value in enumerate(shelf.values):
            more = _as_subclass(value)
            if more is not None and shelf.can_save(more) and shelf.can_be_saved(more):
                found = loaded(shelf.materializer, saved(shelf.materializer, more))
                kinds = f"{type(more).__name__}, came back as {type(found).__name__}"
                what = f"{_shown(number, value)}, of the subclass {kinds}"
                expect(type(found) is type(more), what)

    @check("Saving leaves a value as it was.")
    def test_value_stays_as_it_was(self, shelf: Shelf) -> None:
        """The step may still use it."""
        for name, value in shelf.held.items():
            before = copy.deepcopy(value)
            shelf.materializer.can_save(value)
            shelf.bytes_of(name, value)
            expect(shelf.same(before, value), f"{name} was changed")

    @check("The same value gives the same bytes in each process.")
    def test_bytes_are_the_same_in_each_process(self, shelf: Shelf) -> None:
        """Twice here, and in a process where sets are in another order."""
        assert shelf.report
        for number, (name, value) in enumerate(shelf.held.items()):
            here = shelf.bytes_of(name, value)
            expect(here == shelf.bytes_of(name, value), f"{name} gave other bytes at once")
            there = shelf.again(number)
            expect(here == there, self._why_other(shelf, name, here))

    @staticmethod
    def _why_other(shelf: Shelf, name: str, data: bytes) -> str:
        """Say why a process that has loaded a value saves it as other bytes."""
        if saved(shelf.materializer, loaded(shelf.materializer, data)) == data:
            return f"{name} gave other bytes in another process"
        return (
            f"{name} gives other bytes when it is saved, loaded and saved again, here already: "
            "something of it comes back changed that `same` does not see"
        )

    @check("Any process that has the format loads what another one has saved.")
    def test_another_process_loads_it(self, shelf: Shelf) -> None:
        """And saves it again."""
        assert shelf.report
        for number, (name, value) in enumerate(shelf.held.items()):
            found = loaded(shelf.materializer, shelf.again(number))
            expect(shelf.same(value, found), f"{name} came back changed from another process")

    @check("Any version of Python that has the format loads what another one has saved.")
    def test_file_is_not_bound_to_one_python(self, shelf: Shelf) -> None:
        """Neither `marshal` nor code objects: they differ from version to version."""
        found = _of(shelf, "version")
        expect(not found, f"it uses {', '.join(found)}")

    @check(
        "Loading a file runs no code that the file names, unless needs_trust says so.", runs_no_code
    )
    def test_loading_runs_no_code(self, shelf: Shelf) -> None:
        """Neither of a file of its own nor of one that somebody has put there."""
        found = _of(shelf, "code")
        expect(not found, f"loading uses {', '.join(found)}")
        expect(not shelf.report["traps"], "a file that somebody has put there was run")

    @check("save writes to its file alone.")
    def test_nothing_is_written_elsewhere(self, shelf: Shelf) -> None:
        """A temporary file has to be gone afterwards."""
        found = [*_of(shelf, "written"), *shelf.report["left"]]
        expect(not found, f"written were also {', '.join(found)}")

    @check("The file is closed by who opened it: save leaves it open.")
    def test_file_is_left_open(self, shelf: Shelf) -> None:
        """A wrapper around it closes it with itself, unless it is detached."""
        for number, value in enumerate(shelf.values):
            stream = Stream()
            shelf.materializer.save(value, cast("BinaryIO", stream))
            expect(not stream.is_closed, f"{_shown(number, value)} was saved, and its file closed")

    @check("No file is held open.")
    def test_no_file_is_held_open(self, shelf: Shelf) -> None:
        """Neither by saving nor by loading, nor by the value."""
        for name, seen in zip(shelf.held, shelf.report["seen"], strict=True):
            expect(seen["handles"] <= 0, f"{name} holds {seen['handles']} file(s) open")

    @check("What writing raises goes on to the caller, who takes back what was written.")
    def test_full_disk_is_an_error(self, shelf: Shelf) -> None:
        """Before the first byte, and before the last one."""
        for number, value in enumerate(shelf.values):
            size = len(shelf.bytes_of(_shown(number, value), value))
            for room in {0, size // 2, size - 1} - {-1, size}:
                is_quiet = shelf.can_be_saved(value, room)
                what = f"of {_shown(number, value)} the disk took {room} of {size} bytes"
                expect(not is_quiet, f"{what}, and nothing was raised")

    @check("One object serves several threads at once.")
    def test_threads_share_it(self, shelf: Shelf) -> None:
        """Each keeps its own value, and the object none: threads seldom meet on that way."""
        for number, value in enumerate(shelf.values):
            name = _shown(number, value)
            back = loaded(shelf.materializer, shelf.bytes_of(name, value))
            for where, kept in getattr(shelf.materializer, "__dict__", {}).items():
                expect(kept is not value and kept is not back, f"{name} is kept as `{where}`")
        small = [v for name, v in shelf.held.items() if len(shelf.bytes_of(name, v)) < _SMALL]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(shelf.comes_back, small * 20))
        expect(all(found), f"{found.count(False)} of {len(found)} values came back changed")


_SMALL = 100_000
_BUILTINS = (list, dict, tuple, set, frozenset, str, bytes, bytearray, int, float)


def _as_subclass(value: Any) -> Any:
    """Give a copy of a value as one of a subclass; None where its class cannot have such a one."""
    try:
        cls: Any = type(f"More{type(value).__name__}", (type(value),), {"__slots__": ()})
    except Exception:  # it is final
        return None
    try:
        changed = copy.copy(value)
        object.__setattr__(changed, "__class__", cls)
    except Exception:  # its instances are not made by Python
        return cls(value) if type(value) in _BUILTINS else None
    return changed


def _can_be_hashed(value: Any) -> bool:
    try:
        hash(value)
    except Exception:
        return False
    return True


def _of(shelf: Shelf, kind: str) -> list[str]:
    found = [text for seen in shelf.report["seen"] for text in seen.get(kind, ())]
    return list(dict.fromkeys(found))


def _shown(number: int, value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # it is the author's
        text = type(value).__name__
    return f"value {number}, {text if len(text) < 60 else text[:57] + '...'}"
