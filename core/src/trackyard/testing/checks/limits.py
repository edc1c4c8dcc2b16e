"""Does a backend hold what its flavor says that it holds, up to the limit and past it?"""

from __future__ import annotations

import json
from pathlib import Path

from trackyard.contract.records import Batch, Param
from trackyard.delivery.sizes import FRAME
from trackyard.project.configuration import in_project
from trackyard.testing.contract import check, expect
from trackyard.testing.requirements import can_be_read, declares, limits
from trackyard.testing.stored import difference
from trackyard.testing.workbench import Logging, Workbench, artifact_names
from trackyard.tracking.calls import ActiveRun

# What ends or changes a name that goes through a URL, a shell or a header as it is.
_NAMES = (
    "what?.txt",
    "tab\there.txt",
    "a%2Fb.txt",
    "a+b&c=d;e.txt",
    "#1.txt",
    "50%.txt",
    "deep/a?b/c#d.txt",
    "quote'\".txt",
    "größe 数.txt",
)


class LimitChecks:
    """What a backend cannot hold as it was logged, and core changes for it."""

    @check(
        "points_per_step one: of several points of a key and step each is kept, at a step of its "
        "own, also of those that went on in another process.",
        declares("points_per_step", "one"),
        can_be_read,
    )
    def test_each_point_of_a_step_is_kept(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            for value in range(3):
                run.log_metric("loss", value, step=5)
            run.log_metrics({"loss": 3.0, "other": 0.5}, step=6)
            run.log_metric("loss", 4, step=0)

        _expect_values(workbench, log, "loss", [0.0, 1.0, 2.0, 3.0, 4.0])

    @check("least_step: a point at that step is kept there, and lower ones with it.",
           limits("least_step"), can_be_read)  # fmt: skip
    def test_least_step_is_kept(self, workbench: Workbench) -> None:
        least = workbench.capabilities.least_step or 0

        def log(run: ActiveRun) -> None:
            for number, step in enumerate((least, least + 1, least - 1, least - 1000)):
                run.log_metric("loss", number, step=step)

        run_id = _expect_values(workbench, log, "loss", [0.0, 1.0, 2.0, 3.0])
        steps = workbench.read(run_id).steps("loss")
        expect(least in steps, f"the least step is {least}, and the backend has {steps}")

    @check("needs_step: points without a step are kept, each under a number of its own.",
           declares("needs_step", True), can_be_read)  # fmt: skip
    def test_points_without_a_step_are_numbered(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            for value in range(3):
                run.log_metrics({"loss": float(value), "other": value / 3})

        run_id = _expect_values(workbench, log, "loss", [0.0, 1.0, 2.0])
        steps = workbench.read(run_id).steps("loss")
        expect(len({*steps}) == 3, f"three points without a step have the steps {steps}")

    @check("largest_request: a batch of that many bytes is taken whole, in one call.",
           limits("largest_request"), can_be_read)  # fmt: skip
    def test_largest_request_is_taken(self, workbench: Workbench) -> None:
        most = workbench.capabilities.largest_request or 0
        count = min(workbench.capabilities.largest_batch, 4)
        room = most // count - FRAME - len("p0") - 2
        room = min(room, workbench.capabilities.param_length or room)
        params = [Param(f"p{number}", "x" * room) for number in range(count)]
        run, hooks = workbench.new_run(), workbench.tracker_hooks()
        with in_project(workbench.project):
            outcomes = [
                hooks.start_run(run),
                hooks.log(run, Batch.of(tuple(params), 1, count)),
                hooks.end_run(run),
            ]
        problems = [outcome.reason for outcome in outcomes if outcome.kind != "done"]
        expect(not problems, f"a batch of {most} bytes: {problems}")
        found = difference(params, workbench.read_now(run), workbench.capabilities)
        expect(not found, f"of a batch of {most} bytes, {found}")

    @check("What is larger than a request is kept all the same: a long text, a long loop.",
           limits("largest_request"), can_be_read)  # fmt: skip
    def test_what_is_larger_than_a_request_is_kept(self, workbench: Workbench) -> None:
        most = workbench.capabilities.largest_request or 0
        text = json.dumps({"größe": "x" * most})

        def log(run: ActiveRun) -> None:
            run.log_param("prompt", text)
            for step in range(2 * most // FRAME):
                run.log_metric("loss", step / 3, step=step)

        run_id = workbench.log(log)
        found, refused = workbench.difference(run_id), workbench.refused(run_id)
        expect(not found, f"of more than {most} bytes, {found}")
        expect(not refused, f"of more than {most} bytes, {refused} records were refused")

    @check(
        "artifact_pattern: names arrive as they are where it allows them, and reversibly else: "
        "with ?, #, %2F, a tab.",
        can_be_read,
    )
    def test_names_of_artifacts_arrive(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            for name in _NAMES:
                run.log_text(f"this is {name}", name)

        run_id = workbench.log(log)
        found = workbench.difference(run_id)
        expect(not found, found)
        extra = {*workbench.read(run_id).artifacts} - {*artifact_names(workbench.sent(run_id))}
        odd = sorted(name for name in extra if Path(name).suffix == ".txt")
        expect(not odd, f"the backend has artifacts that nobody logged: {odd}")


def _expect_values(workbench: Workbench, log: Logging, key: str, wanted: list[float]) -> str:
    """Log something, and break the check where a value is missing, or anything is another."""
    run_id = workbench.log(log)
    stored = workbench.read(run_id)
    values = sorted(stored.values(key))
    expect(values == wanted, f"of {key} {wanted} the backend has {values}")
    found = workbench.difference(run_id)
    expect(not found, found)
    return run_id
