"""Is everything there, once, when requests or writes fail in the middle of a hook?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, get_args

import attrs
import pytest

from trackyard.testing.contract import check, expect
from trackyard.testing.failing_calls import CallFault, failing_calls
from trackyard.testing.failing_files import WriteFault, failing_files
from trackyard.testing.faulty import Fault, is_running
from trackyard.testing.faulty_proxy import FaultyProxy
from trackyard.testing.faulty_relay import FaultyRelay
from trackyard.testing.faulty_rules import FAULTS, Fault as Answer
from trackyard.testing.irregular import log_irregularly, log_points
from trackyard.testing.requirements import can_be_read, declares
from trackyard.testing.servers import speaks_http
from trackyard.testing.workbench import Logging, Workbench
from trackyard.tracking.calls import ActiveRun

ServerConfig = Callable[[str], Mapping[str, Any]] | None


def _log_values(run: ActiveRun) -> None:
    run.log_params({"rate": 0.1, "version": "007"})
    log_points(run)
    run.set_tag("stage", "prod")


def _log_file(run: ActiveRun) -> None:
    run.log_text("the report", "notes/report.txt")


# What a program logs, and the hook in which something fails.
PHASES: dict[str, tuple[str, Logging]] = {
    "start": ("tracker_start_run", log_irregularly),
    "log": ("tracker_log", _log_values),
    "artifact": ("tracker_log", _log_file),
    "end": ("tracker_end_run", log_irregularly),
    "fail": ("tracker_fail_run", log_irregularly),
}


@attrs.frozen
class _Storm:
    """What the proxy does, how often at most, and whether a record may be refused by it."""

    answer: Answer
    times: int | None = 1
    skip: int = 0
    after: bool | None = None


_BAD = Answer(status=400, body=b'{"error": "bad request"}', media_type="application/json")
# As a backend says it for good, in the words of most.
_NEVER = attrs.evolve(
    _BAD, body=b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "bad", "error": "bad"}'
)
STORMS = {
    "closes": _Storm(FAULTS["closed before"]),
    "closes the second": _Storm(FAULTS["closed before"], skip=1),
    "takes it and closes": _Storm(FAULTS["closed after"]),
    "takes the second and closes": _Storm(FAULTS["closed after"], skip=1),
    "takes it and answers 503": _Storm(FAULTS["503"], after=True),
    "gives half an answer": _Storm(FAULTS["half an answer"]),
    "answers late": _Storm(FAULTS["delayed"]),
    "answers 400": _Storm(_BAD),
    "answers with a page to log in": _Storm(FAULTS["200 HTML"]),
    "answers 401 for a while": _Storm(FAULTS["401"], times=None),
    "answers 403 for a while": _Storm(FAULTS["403"], times=None),
    "answers 404": _Storm(FAULTS["404 HTML"]),
    "answers 408": _Storm(FAULTS["408"]),
    "answers 413": _Storm(FAULTS["413"]),
    "answers 429": _Storm(FAULTS["429"]),
    "answers 500": _Storm(FAULTS["500"]),
    "answers 503 for a while": _Storm(FAULTS["503"], times=None),
    "refuses for a while": _Storm(Answer("refuse"), times=None),
}
# The key of a param that a server does not take.
_REFUSED = "never_taken"
# The hooks in which a flavor has opened and moved no file: no fault can meet them.
_WRITES_NOTHING: set[tuple[str, str]] = set()


class StormChecks:
    """Each hook, while its server or its disk fails."""

    @check(
        "Whatever a server answers to whichever request, before or after it has taken it: later "
        "the backend has everything, once, or what it refused is named.",
        can_be_read,
    )
    @pytest.mark.parametrize("phase", list(PHASES))
    @pytest.mark.parametrize("storm", list(STORMS))
    def test_storm_loses_and_doubles_nothing(
        self,
        workbench: Workbench,
        server_url: str | None,
        config_for_server: ServerConfig,
        storm: str,
        phase: str,
    ) -> None:
        if server_url is None or config_for_server is None:
            pytest.skip("the suite has no fixtures server_url and config_for_server")
        hook, log = PHASES[phase]
        planned = STORMS[storm]
        is_http = speaks_http(server_url)
        if planned.answer.kind == "answer" and not is_http:
            pytest.skip("the server does not speak HTTP")
        with (FaultyProxy if is_http else FaultyRelay)(server_url) as proxy:
            workbench.break_with(Fault(hook, "announce"))
            table = {**config_for_server(proxy.url), "start_timeout": 3.0, "flush_timeout": 3.0}
            workbench.configure_again(**{k: v for k, v in table.items() if k != "flavor"})
            proxy.fault(
                planned.answer,
                after=planned.after,
                times=planned.times,
                skip=planned.skip,
                is_due=lambda: is_running(hook, anywhere=True),
            )
            run_id = _track(workbench, log, fails=phase == "fail")
            proxy.mend()
            _expect_whole(workbench, run_id, f"when the server {storm} at the {phase}", phase)

    @check(
        "What the backend itself refuses is no outage: it does not wait for ever, it is named as "
        "refused, and the rest arrives.",
        declares("acknowledges", "batch"),
        can_be_read,
    )
    def test_what_is_refused_does_not_wait_for_ever(
        self, workbench: Workbench, server_url: str | None, config_for_server: ServerConfig
    ) -> None:
        if server_url is None or config_for_server is None or not speaks_http(server_url):
            pytest.skip("the suite has no fixtures server_url and config_for_server, of HTTP")
        with FaultyProxy(server_url) as proxy:
            workbench.break_with(Fault("tracker_log", "announce"))
            table = {**config_for_server(proxy.url), "start_timeout": 3.0, "flush_timeout": 3.0}
            workbench.configure_again(**{k: v for k, v in table.items() if k != "flavor"})
            is_due = partial(is_running, "tracker_log", anywhere=True)
            rule = proxy.fault(_NEVER, _REFUSED, is_due=is_due)
            run_id = workbench.log(lambda run: run.log_params({"rate": 0.1, _REFUSED: 1}))
            if not rule.met:
                pytest.skip("no request of tracker_log shows the key of a param")
            workbench.finish(run_id)
            refused, params = workbench.refused(run_id), workbench.read(run_id).params
        expect(refused == 1, f"of one param that the server answers 400, {refused} are refused")
        expect("rate" in params, "with a param that the server answers 400, another one is lost")

    @check("A call of the SDK's that fails once, before or after it has written, loses and "
           "doubles nothing.", can_be_read)  # fmt: skip
    @pytest.mark.parametrize("phase", list(PHASES))
    @pytest.mark.parametrize("fault", get_args(CallFault))
    def test_sdk_call_that_fails_loses_and_doubles_nothing(
        self, workbench: Workbench, sdk_calls: Sequence[str], fault: CallFault, phase: str
    ) -> None:
        if not sdk_calls:
            pytest.skip("the suite has no fixture sdk_calls")
        hook, log = PHASES[phase]
        workbench.break_with(Fault(hook, "announce"))
        with failing_calls(hook, sdk_calls, fault) as failing:
            run_id = _track(workbench, log, fails=phase == "fail")
        if not failing.met:
            pytest.skip(f"{hook} makes no such call")
        _expect_whole(workbench, run_id, f"after {fault}, a call of the {phase}", phase)

    @check("A write that fails once, before or after it, loses and doubles nothing.", can_be_read)
    @pytest.mark.parametrize("phase", list(PHASES))
    @pytest.mark.parametrize("fault", get_args(WriteFault))
    def test_write_that_fails_loses_and_doubles_nothing(
        self, workbench: Workbench, fault: WriteFault, phase: str
    ) -> None:
        hook, log = PHASES[phase]
        known = (workbench.reference, phase)
        if known in _WRITES_NOTHING:
            pytest.skip(f"{hook} writes no file")
        workbench.break_with(Fault(hook, "announce"))
        with failing_files(hook, fault) as failing:
            run_id = _track(workbench, log, fails=phase == "fail")
        if not failing.seen:
            _WRITES_NOTHING.add(known)
        if not failing.met:
            pytest.skip(f"{hook} writes no file, or moves none")
        _expect_whole(workbench, run_id, f"after {fault} at the {phase}", phase)


def _track(workbench: Workbench, log: Logging, *, fails: bool) -> str:
    try:
        with workbench.track(tags={"team": "fraud"}) as run:
            log(run)
            if fails:
                raise LookupError("deliberate")
    except LookupError:
        pass  # it was raised above
    return run.id


def _expect_whole(workbench: Workbench, run_id: str, when: str, phase: str) -> None:
    deleted = workbench.deleted(run_id)
    expect(not deleted, f"{when}, the run counts as deleted there: {deleted}")
    workbench.finish(run_id)
    refused = workbench.refused(run_id)
    expect(not refused, f"{when}, {refused} records count as refused for good")
    found = workbench.difference(run_id)
    expect(not found, f"{when}, {found}")
    stored, wanted = workbench.read(run_id), "failed" if phase == "fail" else "finished"
    expect(stored.status == wanted, f"{when}, the status is {stored.status!r}")
    expect(stored.label("team") == "fraud", f"{when}, a tag of the start is missing")
