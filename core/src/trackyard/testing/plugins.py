"""What does the author of a cross-cutting plugin subclass, and what is checked?"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from trackyard.contract.errors import PluginError
from trackyard.contract.records import Artifact, Batch, Failure, Metric, Param, Record, Run, Tag
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.hooks.observing import PATIENCE
from trackyard.hooks.rules import check_hooks, implemented_hooks
from trackyard.system.identifiers import new_id
from trackyard.testing.base import Suite
from trackyard.testing.contract import check, expect
from trackyard.testing.irregular import NUMBERS, ODD_PARAMS, irregular_points
from trackyard.testing.memory import MemoryTracker
from trackyard.testing.process_state import changes, open_descriptors, process_state

OBSERVE, FILTER = "tracker_observe_run", "tracker_filter_records"
# Seconds for which a run is observed, and the share of a core that this may take meanwhile.
_WHILE, _SHARE = 1.0, 0.25
# Seconds after a run's end in which nobody may log into it any more.
_SILENCE = 0.3


class PluginSuite(Suite):
    """Checks that a plugin of the group `trackyard.plugins` keeps the contract.

    Fixtures of the subclass:
        plugin: The object that its entry point names: an instance or a module.
        patience: Seconds after which it has logged something into a run that it observes; None,
            the default, where it does so only at the run's end or not at all.
    """

    @pytest.fixture
    def plugin(self) -> object:
        """Give the plugin. Every subclass has its own."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a fixture `plugin` that gives what its entry point names"
        )

    @pytest.fixture
    def patience(self) -> float | None:
        """Give the seconds after which it has logged something; None where it need not."""
        return None

    @check("A plugin's hooks are those of the contract, with their arguments.")
    def test_hooks_are_those_of_the_contract(self, plugin: object) -> None:
        """A hook that is misspelt would be called by nobody."""
        try:
            check_hooks(plugin, "the plugin")
        except PluginError as error:
            expect(False, str(error))
        expect(bool(implemented_hooks(plugin)), "it has no hook at all")

    @check("A tracker's hooks may be called again, for each tracker of a run: nothing is raised.")
    def test_hooks_may_be_called_again(self, plugin: object, tmp_path: Path) -> None:
        """A delivery is repeated, a run has several trackers."""
        batch = Batch.of(tuple(_records(tmp_path)), 1, len(_records(tmp_path)))
        run = _run(tmp_path)
        for ending in ("end", "fail"):
            for tracker in ("first", "second"):
                alone = TrackerHooks(MemoryTracker(project=tracker), tracker)
                hooks = TrackerHooks(MemoryTracker(project=tracker), tracker, [("plugin", plugin)])
                for _ in range(2):
                    for name, arguments in _life(batch, ending):
                        before = getattr(alone, name)(run, *arguments)
                        outcome = getattr(hooks, name)(run, *arguments)
                        same = (outcome.kind, outcome.value) == (before.kind, before.value)
                        expect(same, f"{name} gives {outcome.kind} {outcome.reason}")
        problems = [_raised(plugin, run, batch, ending) for ending in ("end", "fail")]
        expect(not any(problems), "; ".join(filter(None, problems)))

    @check("A filter gives the record, a changed one of its kind, or None; it never raises.")
    def test_filter_takes_every_record(self, plugin: object, tmp_path: Path) -> None:
        """Where it raises, the record is dropped."""
        keep = _filter_of(plugin, _run(tmp_path))
        for record in _records(tmp_path):
            kept = keep(record)
            is_one = kept is None or type(kept) is type(record)
            expect(is_one, f"of {record} it makes {kept!r}")

    @check("A filter leaves most records alone, and does the same to one that comes again.")
    def test_filter_is_the_same_each_time(self, plugin: object, tmp_path: Path) -> None:
        """What it hides once it hides always; a metric is no secret."""
        first, second = (_filter_of(plugin, _run(tmp_path)) for _ in range(2))
        records = _records(tmp_path)
        changed = [record for record in records if first(record) != second(record)]
        expect(not changed, f"of {changed[:1]} it makes something else each time")
        twice = [r for r in records if (kept := first(r)) is not None and first(kept) != kept]
        expect(not twice, f"what it has changed it changes again, such as {twice[:1]}")

    @check("A filter keeps records of each kind: what it drops, no tracker ever gets.")
    def test_filter_keeps_records_of_each_kind(self, plugin: object, tmp_path: Path) -> None:
        """A function that forgets its last `return` drops all that it has nothing to say of."""
        keep = _filter_of(plugin, _run(tmp_path))
        records = _records(tmp_path)
        kept = {type(record) for record in records if keep(record) is not None}
        lost = sorted({type(record).__name__ for record in records} - {k.__name__ for k in kept})
        what = f"it gives None for every {' and every '.join(lost)}; to keep one, return it"
        expect(not lost, what)

    @check("A context that observes a run is entered and left without an error, in good time.")
    def test_observing_ends_with_its_run(self, plugin: object, tmp_path: Path) -> None:
        """A run's end waits a second for all plugins together."""
        before, state = {*threading.enumerate()}, process_state()
        with _observed(plugin, _run(tmp_path)):
            pass
        changed = changes(state, process_state())
        expect(not changed, f"observing a run changes {changed}")
        time.sleep(_SILENCE)
        new = [t.name for t in threading.enumerate() if t not in before and not t.daemon]
        expect(not new, f"these threads keep the interpreter alive: {', '.join(new)}")

    @check("What was started or opened for a run ends with it.")
    def test_nothing_is_left_of_a_run(
        self, plugin: object, tmp_path: Path, patience: float | None
    ) -> None:
        """A process may have a thousand runs; what all of them share may stay."""
        with _observed(plugin, _run(tmp_path / "first")) as log:
            _wait_for(log, patience)
        time.sleep(_SILENCE)
        threads, files = {*threading.enumerate()}, open_descriptors()
        with _observed(plugin, _run(tmp_path / "second")) as log:
            _wait_for(log, patience)
        time.sleep(_SILENCE)
        left = [thread.name for thread in threading.enumerate() if thread not in threads]
        expect(not left, f"of each run it leaves a thread behind: {', '.join(left)}")
        more = (open_descriptors() or 0) - (files or 0)
        expect(more <= 0, f"of each run it leaves {more} file(s) open")

    @check("What observes a run logs numbers into that run alone, and nothing after its end.")
    def test_observer_logs_into_its_run_alone(
        self, plugin: object, tmp_path: Path, patience: float | None
    ) -> None:
        """Several runs may be open in one process."""
        with _observed(plugin, _run(tmp_path / "a")) as first:
            with _observed(plugin, _run(tmp_path / "b")) as second:
                _wait_for(second, patience)
            count = len(second.calls)
            _wait_for(first, patience)
        time.sleep(_SILENCE)
        expect(len(second.calls) == count, "it logs into a run that has ended")
        for log in (first, second):
            expect(
                patience is None or bool(log.calls), f"within {patience} s it has logged nothing"
            )
            wrong = [call for call in log.calls if not _are_numbers(call)]
            expect(not wrong, f"it logs {wrong[:1]}, which are no finite numbers by name")

    @check("A run that is observed costs next to nothing.")
    def test_observing_is_cheap(self, plugin: object, tmp_path: Path) -> None:
        """It shares the machine with the training."""
        with _observed(plugin, _run(tmp_path / "first")):
            pass  # what is imported and made once
        share = _SHARE * _share_of_a_core()
        with _observed(plugin, _run(tmp_path / "second")):
            begun = time.process_time()
            time.sleep(_WHILE)
            spent = time.process_time() - begun
        expect(spent < share * _WHILE, f"in {_WHILE:.0f} s it takes {spent:.2f} s of CPU")


@attrs.define
class _Log:
    """What a plugin logs into a run."""

    calls: list[Any] = attrs.field(factory=list)

    def __call__(self, metrics: Mapping[str, Any], step: Any = None) -> None:  # noqa: ARG002
        self.calls.append(metrics)


@contextmanager
def _observed(plugin: object, run: Run) -> Iterator[_Log]:
    """Enter a plugin's context and leave it, as core does, but say what it raises."""
    if OBSERVE not in implemented_hooks(plugin):
        pytest.skip(f"the plugin has no {OBSERVE}")
    log = _Log()
    names = implemented_arguments(plugin, OBSERVE)
    given = {"run": run, "log": log}
    manager = plugin.tracker_observe_run(**{n: given[n] for n in names})  # type: ignore[attr-defined]
    if manager is None:
        yield log
        return
    errors: list[BaseException] = []
    entered, over = threading.Event(), threading.Event()

    def observe() -> None:
        try:
            with manager:
                entered.set()
                over.wait()
        except BaseException as error:
            errors.append(error)
            entered.set()

    thread = threading.Thread(target=observe, daemon=True)
    thread.start()
    expect(entered.wait(10 * PATIENCE), "entering its context takes longer than 10 s")
    try:
        yield log
    finally:
        over.set()
        thread.join(PATIENCE)
        expect(not thread.is_alive(), f"leaving its context takes longer than {PATIENCE:.0f} s")
        expect(not errors, f"it raises {errors[0]!r}" if errors else "")


def implemented_arguments(plugin: object, hook: str) -> tuple[str, ...]:
    """Give the arguments that a plugin's hook asks for.

    Args:
        plugin: The plugin.
        hook: The hook.
    """
    import inspect

    return tuple(inspect.signature(getattr(plugin, hook)).parameters)


def _filter_of(plugin: object, run: Run) -> Callable[[Record], Record | None]:
    if FILTER not in implemented_hooks(plugin):
        pytest.skip(f"the plugin has no {FILTER}")
    given = {"run": run} if "run" in implemented_arguments(plugin, FILTER) else {}
    made = plugin.tracker_filter_records(**given)  # type: ignore[attr-defined]
    expect(callable(made), f"it gives {made!r}, no function")
    return made  # type: ignore[no-any-return]


def _life(batch: Batch, ending: str) -> Iterable[tuple[str, tuple[Any, ...]]]:
    failure = Failure("failed", "ValueError", "deliberate")
    end: tuple[Any, ...] = (failure,) if ending == "fail" else ()
    return (("start_run", ()), ("log", (batch,)), (f"{ending}_run", end))


def _raised(plugin: object, run: Run, batch: Batch, ending: str) -> str:
    """Say what a plugin's own hooks raise, which core keeps from its trackers."""
    given = {"run": run, "batch": batch, "failure": Failure("failed", "ValueError", "deliberate")}
    for hook in ("tracker_start_run", "tracker_log", f"tracker_{ending}_run"):
        if hook not in implemented_hooks(plugin):
            continue
        method = getattr(plugin, hook)
        if getattr(method, "trackyard_impl", {}).get("wrapper"):
            continue
        names = implemented_arguments(plugin, hook)
        for _ in range(2):
            try:
                method(**{name: given[name] for name in names})
            except Exception as error:
                return f"{hook} raises {type(error).__name__}: {error}"
    return ""


def _run(folder: Path) -> Run:
    own = folder / new_id() / "tracker"
    own.mkdir(parents=True)
    return Run(own.parent.name, "check", "conformance", time.time_ns(), own)


def _records(folder: Path) -> list[Record]:
    file = folder / "report.txt"
    file.write_text("ada@example.com", encoding="utf-8")
    points: list[Record] = [Metric(key, value, 1, 10**18) for key, value in NUMBERS.items()]
    points += [Metric("nan", math.nan, None, 10**18), *irregular_points()]
    points += [Param(key, value) for key, value in ODD_PARAMS.items()]  # type: ignore[arg-type]
    points += [Param("none", None), Param("", "x"), Param("größe", "数 🎉")]
    points += [Tag(key, value) for key, value in ODD_PARAMS.items() if isinstance(value, str)]
    return [r for r in points if r == r] + [Artifact("a/report.txt", file, "text")]  # noqa: PLR0124


def _wait_for(log: _Log, patience: float | None) -> None:
    end = time.monotonic() + (patience or 0.0)
    while not log.calls and time.monotonic() < end:
        time.sleep(0.02)


def _share_of_a_core(seconds: float = 0.3) -> float:
    """Give how much of a core this process gets on a machine that others use, too."""
    begun, cpu = time.monotonic(), time.process_time()
    while time.monotonic() < begun + seconds:
        pass
    return (time.process_time() - cpu) / (time.monotonic() - begun)


def _are_numbers(call: Any) -> bool:
    try:
        return all(isinstance(k, str) and math.isfinite(v) for k, v in dict(call).items())
    except (TypeError, ValueError):
        return False
