"""Does a run start once, end as it ended, keep its URL and leave the process as it was?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest

from trackyard.contract.context import Context, Git
from trackyard.contract.records import Batch, Failure, Metric
from trackyard.project.configuration import in_project
from trackyard.testing.contract import check, expect
from trackyard.testing.faulty import Fault
from trackyard.testing.process_state import (
    changed_between,
    changes,
    process_state,
    restore,
    unusual,
)
from trackyard.testing.requirements import can_be_read, declares, implements
from trackyard.testing.secrets import secrets_of, secrets_set
from trackyard.testing.servers import no_connections
from trackyard.testing.workbench import TRACKER, Workbench
from trackyard.tracking.new_runs import new_run

_STATUS = "At the end, every flavor mirrors trackyard.status, which says how the run ended."


class LifeCycleChecks:
    """One run from its start to its end."""

    @check(
        "Every flavor mirrors trackyard.run_id, trackyard.pipeline, trackyard.step, "
        "trackyard.attempt and trackyard.group.",
        can_be_read,
    )
    def test_identity_is_mirrored(self, workbench: Workbench) -> None:
        run = workbench.new_run(pipeline="training", step="train", attempt=2, group="0" * 32)
        hooks = workbench.tracker_hooks()
        with in_project(workbench.project):
            _done(hooks.start_run(run))
            _done(hooks.end_run(run))
        stored = workbench.read_now(run)
        for key, value in run.identity_tags.items():
            expect(stored.label(key) == value, f"{key} is {stored.label(key)!r}, not {value!r}")

    @check(
        "Where a run comes from arrives in parts, at the start or later and more than once, and "
        "any of it may be unknown: no hook fails by that, and what comes with it is kept.",
        can_be_read,
    )
    def test_context_may_be_unknown(self, workbench: Workbench) -> None:
        whole = Context(
            user="ada",
            host="node-1",
            command=("python", "train.py"),
            script="train.py",
            git=Git("ab" * 20, "main", "https://example.com/code.git", is_dirty=True),
            packages={"numpy": "2.4"},
            job={"slurm.job_id": "7"},
        )
        parts = (Context(), Context(host="node-1"), Context(git=Git(is_dirty=False)), whole, whole)
        run = workbench.new_run(context=Context(user="ada"))
        hooks = workbench.tracker_hooks()
        with in_project(workbench.project):
            _done(hooks.start_run(run))
            for step, context in enumerate(parts):
                metric = Metric("loss", 1.0, step, 10**18 + step * 10**9)
                first = 2 * step + 1
                _done(hooks.log(run, Batch.of((context, metric), first, first + 1)))
            _done(hooks.end_run(run))
        found = workbench.read_now(run).values("loss")
        expect(found == [1.0] * len(parts), f"of {len(parts)} points beside it {found} are kept")

    @check(
        "tracker_start_run is idempotent on run.id: called again with the same id it continues "
        "the same remote run.",
        can_be_read,
    )
    def test_start_is_idempotent_on_the_id(self, workbench: Workbench) -> None:
        workbench.break_with(Fault("tracker_start_run", "twice"))
        run_id = workbench.log(lambda run: run.log_metric("loss", 1, step=0))
        found = workbench.difference(run_id)
        expect(not found, f"after two starts {found}")

    @check(
        "Called again with the same id it continues the same remote run: resume, sync and "
        "recovery rest on that.",
        can_be_read,
        declares("acknowledges", "batch"),
        declares("idempotence", "natural", "cursor"),
    )
    def test_start_in_another_process_resumes_the_run(self, workbench: Workbench) -> None:
        run = workbench.new_run()
        with in_project(workbench.project):
            first = workbench.tracker_hooks()
            _done(first.start_run(run))
            _done(first.log(run, _batch("loss", 0)))
            second, attached = workbench.tracker_hooks(), attrs.evolve(run, attached=True)
            _done(second.start_run(attached))
            _done(second.log(attached, _batch("loss", 1)))
            _done(second.end_run(attached))
        steps = sorted(step or 0 for step in workbench.read_now(run).steps("loss"))
        expect(steps == [0, 1], f"the run has steps {steps} of what two processes logged")

    @check(
        "A run that tracker_start_early has started is the one that tracker_start_run would have "
        "made: it bears the same tags, has a URL, and whoever goes on with it continues it.",
        implements("tracker_start_early"),
        can_be_read,
        declares("acknowledges", "batch"),
    )
    def test_early_start_makes_the_same_run(self, workbench: Workbench) -> None:
        run, regular = workbench.new_run(tags={"stage": "prod"}), workbench.new_run()
        with in_project(workbench.project):
            _done(workbench.tracker_hooks().start_run(regular))  # a first store is none of its work
            first, attached = workbench.tracker_hooks(), attrs.evolve(run, attached=True)
            if not first.start_early(run):
                pytest.skip("tracker_start_early leaves this one to tracker_start_run")
            expect(first.url(run) is not None, "it has no URL after an early start")
            _done(first.log(run, _batch("loss", 0)))
            stored = workbench.read_now(run)
            for key, value in {**run.tags, **run.identity_tags}.items():
                expect(stored.label(key) == value, f"{key} is {stored.label(key)!r}, not {value!r}")
            second = workbench.tracker_hooks()
            expect(not second.start_early(attached), "it starts a run that was started before")
            _done(second.start_run(attached))
            _done(second.log(attached, _batch("loss", 1)))
            _done(second.end_run(attached))
        steps = sorted(step or 0 for step in workbench.read_now(run).steps("loss"))
        expect(steps == [0, 1], f"the run has steps {steps} of what two processes logged")

    @check(
        "Where run.resumed is not 0 the run may have ended, and is running again: its start opens "
        "the same remote run, and the last end is the one that counts.",
        can_be_read,
        declares("acknowledges", "batch"),
        declares("idempotence", "natural", "cursor"),
    )
    def test_resumed_run_is_running_and_ends_once_more(self, workbench: Workbench) -> None:
        run = workbench.new_run()
        resumed = attrs.evolve(run, resumed=1)
        with in_project(workbench.project):
            first, second = workbench.tracker_hooks(), workbench.tracker_hooks()
            _done(first.start_run(run))
            _done(first.log(run, _batch("loss", 0)))
            _done(first.fail_run(run, Failure("crashed", "Crashed", "no word")))
            _done(second.start_run(resumed))
            status = workbench.read_now(run).status
            expect(status in (None, "running"), f"the status is {status!r} after it was resumed")
            _done(second.log(resumed, _batch("loss", 1)))
            _done(second.end_run(resumed))
        stored = workbench.read_now(run)
        expect(stored.status == "finished", f"its status is {stored.status!r} in the end")
        left = stored.label("trackyard.failure")
        expect(not left, f"it has finished, and trackyard.failure still says {left!r}")
        steps = sorted(step or 0 for step in stored.steps("loss"))
        expect(steps == [0, 1], f"the run has steps {steps} of what was logged before and after")
        again = attrs.evolve(run, resumed=2)
        with in_project(workbench.project):
            third = workbench.tracker_hooks()
            _done(third.start_run(again))
            _done(third.fail_run(again, Failure("crashed", "Crashed", "no word")))
        status = workbench.read_now(run).status
        expect(status == "crashed", f"its status is {status!r} when it has crashed once more")

    @check("tracker_end_run: mark the run as finished. " + _STATUS, can_be_read)
    def test_run_that_ended_is_finished(self, workbench: Workbench) -> None:
        run_id = workbench.log(lambda run: run.log_metric("loss", 1))
        status = workbench.read(run_id).status
        expect(status == "finished", f"trackyard.status is {status!r} after a run that ended")

    @check("tracker_fail_run: mark the run as failed. " + _STATUS, can_be_read)
    def test_run_that_raised_is_failed(self, workbench: Workbench) -> None:
        with suppress(ZeroDivisionError), workbench.track() as run:
            raise ZeroDivisionError("deliberate")
        status = workbench.read(run.id).status
        expect(status == "failed", f"trackyard.status is {status!r} after a run that raised")

    @check("Mark the run as failed, killed or crashed, as failure.status says.", can_be_read)
    @pytest.mark.parametrize("status", ["killed", "crashed"])
    def test_run_that_was_killed_or_crashed_says_so(
        self, workbench: Workbench, status: Any
    ) -> None:
        run, hooks = workbench.new_run(), workbench.tracker_hooks()
        with in_project(workbench.project):
            _done(hooks.start_run(run))
            _done(hooks.fail_run(run, Failure(status, "Crashed", "no word", "", 9)))
        found = workbench.read_now(run).status
        expect(found == status, f"trackyard.status is {found!r} after a run that was {status}")

    @check("A run without records is a run: it starts and ends.", can_be_read)
    def test_run_without_records_ends(self, workbench: Workbench) -> None:
        status = workbench.read(workbench.log(_nothing)).status
        expect(status == "finished", f"trackyard.status is {status!r}")

    @check("The run's own tags reach the backend at the start.", can_be_read)
    def test_tags_of_the_start_are_kept(self, workbench: Workbench) -> None:
        run_id = workbench.log(_nothing, tags={"team": "fraud", "größe": "1 €"})
        stored = workbench.read(run_id)
        expect(stored.label("team") == "fraud", f"tag team is {stored.label('team')!r}")

    @check("A run's name and experiment are the user's words, and any text will do.", can_be_read)
    def test_names_may_be_any_text(self, workbench: Workbench) -> None:
        for name in ("sträße/größe 数", "two\nlines", "x" * 300):
            run_id = workbench.log(lambda run: run.log_metric("loss", 1), name=name)
            found = workbench.difference(run_id)
            expect(not found, f"in a run named {name[:20]!r}, {found}")

    @check("The URL is there from the first moment.", implements("tracker_url"))
    def test_url_is_there_right_after_the_start(self, workbench: Workbench) -> None:
        with workbench.track() as run:
            url = run.url
        expect(bool(url), f"right after the start, tracker_url gives {url!r}")
        expect(bool(urlsplit(url or "").scheme), f"{url!r} is no address")

    @check("The URL opens the run, not the server's front page.", implements("tracker_url"))
    def test_url_opens_the_run(self, workbench: Workbench) -> None:
        urls = []
        for _ in range(2):
            with workbench.track() as run:
                urls.append(run.url)
        expect(urls[0] != urls[1], f"two runs have the same URL, {urls[0]}")
        for url in urls:
            parts = urlsplit(url or "")
            has_place = bool(parts.path.strip("/") or parts.query or parts.fragment)
            expect(has_place, f"{url} is the front page")

    @check("The URL is the same at the end, and in another process.", implements("tracker_url"))
    def test_url_stays_the_same(self, workbench: Workbench) -> None:
        with workbench.track() as active:
            first = active.url
        expect(active.url == first, f"the URL was {first}, and is {active.url} at the end")
        hooks, run = workbench.tracker_hooks(), workbench.run_of(active.id)
        with in_project(workbench.project):
            _done(hooks.start_run(run))
            again = hooks.url(run)
        expect(again == first, f"the URL was {first}, and is {again} in another process")

    @check("The URL never carries a credential.", implements("tracker_url"))
    def test_url_carries_no_credential(self, workbench: Workbench) -> None:
        with secrets_set(workbench) as values:
            outcome, url, instance = _started(workbench)
        if outcome.kind != "done":  # a server takes none but the author's own
            workbench.configure()
            outcome, url, instance = _started(workbench)
            _done(outcome)
            values = secrets_of(instance)
        leaked = [name for name, value in values.items() if value in url]
        expect(not leaked, f"the URL has the secret {', '.join(leaked)}")
        expect("@" not in urlsplit(url).netloc, f"{url} names a user")
        found = re.search(r"(?i)(api_?key|token|password|secret)=", url)
        expect(found is None, f"{url} has {found and found[0]}")

    @check("tracker_url must not wait for the network.", implements("tracker_url"))
    def test_url_needs_no_network(self, workbench: Workbench) -> None:
        run, hooks = workbench.new_run(), workbench.tracker_hooks()
        with in_project(workbench.project):
            _done(hooks.start_run(run))
            before = hooks.url(run)
            with no_connections() as tried:
                after = hooks.url(run)
        expect(not tried, f"tracker_url connects to {tried[0] if tried else ''}")
        expect(after == before, f"without a network the URL is {after}, not {before}")

    @check(
        "Several runs in one process keep apart.", declares("concurrent_runs", True), can_be_read
    )
    def test_two_runs_at_once_do_not_mix(self, workbench: Workbench) -> None:
        with workbench.track("first") as first, workbench.track("second") as second:
            for step in range(20):
                first.log_metric("first", step, step=step)
                second.log_metric("second", -step, step=step)
        for run in (second, first):
            found = workbench.difference(run.id)
            expect(not found, f"of two runs at once, {found}")
            others = {"first", "second"} & set(workbench.read(run.id).metrics)
            expect(others == {run.name}, f"run {run.name} has metrics {sorted(others)}")

    @check(
        "One instance serves one run: of two trackers of one flavor each has it at its own place.",
        declares("concurrent_runs", True),
    )
    def test_two_trackers_of_one_run_keep_apart(
        self, workbench: Workbench, server_url: str | None
    ) -> None:
        second = _at_another_place(workbench) if server_url is None else None
        if second is None or "tracker_read_run" not in workbench.hooks:
            pytest.skip(
                "config names no folder of its check, or the flavor has no tracker_read_run"
            )
        run = workbench.new_run()
        places = [(run, {}), (attrs.evolve(run, folder=run.folder / "second"), second)]
        places[1][0].folder.mkdir()
        begun = []
        for each, changes_ in places:
            workbench.configure(**changes_)
            begun.append((each, workbench.tracker_hooks()))
        with in_project(workbench.project):
            for number, (each, hooks) in enumerate(begun):
                _done(hooks.start_run(each))
                _done(hooks.log(each, _batch(f"of{number}", number)))
            for each, hooks in begun:
                _done(hooks.end_run(each))
        for number, (each, changes_) in enumerate(places):
            workbench.configure(**changes_)
            found = sorted(workbench.read_now(each).metrics)
            expect(found == [f"of{number}"], f"place {number} has {found}, not of{number} alone")

    @check(
        "Leaving tracker_activate_run ends nothing: the run's end is told by its own hooks.",
        implements("tracker_activate_run"),
        declares("acknowledges", "batch"),
        can_be_read,
    )
    def test_run_has_no_end_before_it_ends(self, workbench: Workbench) -> None:
        run, hooks = workbench.new_run(), workbench.tracker_hooks()
        with in_project(workbench.project):
            _done(hooks.start_run(run))
            with hooks.activated(run):
                pass
            status = workbench.read_now(run).status
            _done(hooks.end_run(run))
        expect(status in (None, "running"), f"the status is {status!r} before the end was told")

    @check("run.folder is kept: what is in it, core's own too, is there when the run has ended.")
    def test_folder_of_the_run_is_kept(self, workbench: Workbench) -> None:
        run, hooks = workbench.new_run(), workbench.tracker_hooks()
        cores = run.folder / "state-of-core.json"
        cores.write_text("{}", encoding="utf-8")
        with in_project(workbench.project):
            _done(hooks.start_run(run))
            _done(hooks.log(run, _batch("loss", 0)))
            _done(hooks.end_run(run))
        expect(cores.exists(), "a file of core's in run.folder is gone")

    @check("A run's end ends that run alone.", declares("concurrent_runs", True), can_be_read)
    def test_end_of_a_run_ends_no_other(self, workbench: Workbench) -> None:
        first, second = workbench.new_run(), workbench.new_run()
        of_first, of_second = workbench.tracker_hooks(), workbench.tracker_hooks()
        with in_project(workbench.project):
            _done(of_first.start_run(first))
            _done(of_second.start_run(second))
            _done(of_first.end_run(first))
            status = workbench.read_now(second).status
            expect(status != "finished", "the end of one run has finished another")
            _done(of_second.log(second, _batch("loss", 0)))
            _done(of_second.fail_run(second, Failure("failed", "ValueError")))
        statuses = [workbench.read_now(run).status for run in (first, second)]
        expect(statuses == ["finished", "failed"], f"their statuses are {statuses}")
        values = workbench.read_now(second).values("loss")
        expect(values == [0.0], f"the second run has {values} after the first one's end")

    @check("Where a tracker can nest, a pipeline run has a tracker run of its own, the parent.")
    def test_parent_and_step_are_both_whole(self, workbench: Workbench) -> None:
        if not workbench.capabilities.nests or not workbench.can_read:
            pytest.skip("the flavor does not nest, or cannot be read back")
        group = workbench.group(pipeline="training", group="1" * 32)
        step = new_run("train", "conformance", pipeline="training", step="train", group="1" * 32)
        tracked = group.start(step, [workbench.tracker()])
        tracked.append_metrics(10**18, 0, {"loss": 1.0})
        group.finish(tracked, None)
        group.close()
        parent = group.parent
        expect(parent is not None and tracked.run.parent_id == parent.run.id, "it has no parent")
        for run in (tracked.run, parent.run if parent else tracked.run):
            status = workbench.read(run.id).status
            expect(status == "finished", f"the status of {run.name} is {status!r}")

    @check(
        "Every flavor mirrors trackyard.parent: of a child run the run that it was started in.",
        can_be_read,
    )
    def test_child_run_names_its_parent(self, workbench: Workbench) -> None:
        with workbench.track("search") as search:
            with workbench.track("trial", nested=True) as trial:
                trial.log_metric("loss", 1)
            search.log_metric("best", 1)
        child, parent = workbench.read(trial.id), workbench.read(search.id)
        named = child.label("trackyard.parent")
        expect(named == search.id, f"trackyard.parent is {named!r}, not {search.id!r}")
        expect(parent.label("trackyard.parent") is None, "the parent names a parent, too")
        found = (parent.status, child.status)
        expect(found == ("finished", "finished"), f"the statuses of the two are {found}")

    @check("The SDK's own calls inside a step land in the same run.", can_be_read)
    def test_native_calls_land_in_the_run(
        self, workbench: Workbench, log_natively: Callable[[str, float], object] | None
    ) -> None:
        if log_natively is None:
            pytest.skip("the suite has no fixture log_natively")
        with workbench.track() as run:
            run.log_metric("portable", 1)
            log_natively("native", 2)
        stored = workbench.read(run.id)
        found = (stored.values("portable"), stored.values("native"))
        expect(found == ([1.0], [2.0]), f"a portable and a native call gave {found}")

    @check("Leave what the SDK's global state was: nothing changes that is not changed back.")
    def test_process_is_as_it_was_before(self, workbench: Workbench) -> None:
        place, first = Path.cwd(), process_state()
        workbench.log(lambda run: run.log_metric("loss", 1))  # the SDK's import is not judged
        expect(Path.cwd() == place, f"a run moves the process to {Path.cwd()}")
        changed = _changed_by_a_run(workbench, first)
        if changed:  # unless it was a thread of something else: a run does it each time
            changed &= _changed_by_a_run(workbench, first)
        expect(not changed, f"after a run these are changed: {', '.join(sorted(changed))}")

    @check("attached: another process continues the run; leave the SDK's global state alone.")
    def test_attached_run_leaves_the_process_alone(self, workbench: Workbench) -> None:
        first = process_state()
        workbench.log(_nothing)
        run, hooks = workbench.new_run(attached=True), workbench.tracker_hooks()
        restore(first)
        before = process_state()
        with in_project(workbench.project):
            _done(hooks.start_run(run))
            changed = changes(before, process_state())
            _done(hooks.end_run(run))
        expect(not changed, f"an attached run changes {changed}")

    @check(
        "Entered also when the start is late or failed: the SDK's calls neither raise nor stray.",
        implements("tracker_activate_run"),
    )
    def test_activation_works_without_a_start(
        self, workbench: Workbench, log_natively: Callable[[str, float], object] | None
    ) -> None:
        workbench.break_with(Fault("tracker_start_run", "refuse", times=1000), flush_timeout=0.1)
        with workbench.track() as run:
            if log_natively is not None:
                log_natively("native", 2)
            run.log_metric("portable", 1)

    @check("run.folder: SDK directories and files go there, and not into the working directory.")
    def test_working_directory_stays_clean(self, workbench: Workbench) -> None:
        before = sorted(workbench.root.rglob("*"))
        workbench.log(lambda run: run.log_text("hello", "hello.txt"))
        new = [str(p.relative_to(workbench.root)) for p in workbench.root.rglob("*")]
        new = [name for name in new if workbench.root / name not in before]
        expect(not new, f"a run leaves {', '.join(new[:5])} in the working directory")

    @check("A flavor prints nothing: the step's output is the step's.")
    def test_nothing_is_printed(
        self, workbench: Workbench, capfd: pytest.CaptureFixture[str]
    ) -> None:
        workbench.log(lambda run: run.log_metric("loss", 1))
        printed = capfd.readouterr().out
        expect(not printed, f"a run prints {printed[:200]!r}")


def _nothing(_: object) -> None:
    """Log nothing."""


def _done(outcome: Any) -> None:
    expect(outcome.kind == "done", f"{outcome.reason or outcome.kind}")


def _started(workbench: Workbench) -> tuple[Any, str, object]:
    """Start a run; give what came of it, the URL before core cleans it, and the instance."""
    run, instance = workbench.new_run(), workbench.instance()
    hooks = type(workbench.tracker_hooks())(instance, TRACKER)
    with in_project(workbench.project):
        outcome = hooks.start_run(run)
        url = hooks._manager.call("tracker_url", run=run) if outcome.kind == "done" else None  # noqa: SLF001 - see above
    return outcome, str(url or ""), instance


def _batch(key: str, step: int) -> Batch:
    metric = Metric(key, float(step), step, 10**18 + step * 10**9)
    return Batch.of((metric,), step + 1, step + 1)


def _changed_by_a_run(workbench: Workbench, first: Mapping[str, Any]) -> set[str]:
    """Have a run that fails; give the names of what it leaves changed in the process."""
    restore(first)
    unusual()
    try:
        before = process_state()
        with suppress(ValueError), workbench.track() as run:
            run.log_metric("loss", 1)
            raise ValueError("deliberate")
        return changed_between(before, process_state())
    finally:
        restore(first)


def _at_another_place(workbench: Workbench) -> dict[str, str] | None:
    """Give the fields of the table that name the check's folder, with a folder within it."""
    here = workbench.root.parent
    there = here / "second place"
    if any("://" in str(value) and "///" not in str(value) for value in workbench.table.values()):
        return None  # runs are on a server, and the folder holds something else
    found = {
        key: value.replace(str(here), str(there))
        for key, value in workbench.table.items()
        if isinstance(value, str) and str(here) in value
    }
    there.mkdir(exist_ok=True)
    return found or None
