"""What may a tracker implement, and when is each hook called?

The order for one run on one tracker, all on the tracker's own worker unless said otherwise:

1. `tracker_filter_records`  once, in the thread that starts the run
2. `tracker_start_run`       before the step; later, if the tracker is not up in time
   `tracker_start_early`     before that, where the flavor can do without its SDK
3. `tracker_url`             right after the start
4. `tracker_activate_run`    around the step, in the step's own thread
   `tracker_observe_run`     likewise, in a thread of the plugin's own
   `tracker_capture_alone`   around that, where the flavor is a source of records only
5. `tracker_log`             again and again while the run lives
6. `tracker_end_run`         the step succeeded and its outputs are stored, or
   `tracker_fail_run`        it raised, was signalled or was found dead
7. `tracker_url`             once more at the end

The others are called by commands, outside a run's life. Every hook may be called again after an
error or a lost answer: a second call with the same `run.id` or the same batch changes nothing.
A hook may ask for fewer arguments than it is offered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trackyard.contract.capturing import Capture
    from trackyard.contract.importing import ImportNote, MetricPoints, RemoteRun, RunQuery
    from trackyard.contract.records import Batch, Failure, Record, Run

hookspec = pluggy.HookspecMarker("trackyard")
hookimpl = pluggy.HookimplMarker("trackyard")


@hookspec(firstresult=True)
def tracker_start_run(run: Run) -> int | None:
    """Start the run in the backend, or continue it where `run.id` was started before.

    Where `run.resumed` is not 0 the remote run may have ended, and is running again from here on:
    what it says of its end before is to go, such as a status, a failure, the tag of one.

    Args:
        run: The run; `run.deadline` says how many seconds are left for this call.

    Returns:
        The `last_sequence` of the last batch that the backend holds, or None.

    Raises:
        RetryLater: The backend cannot be reached now. Connection errors say the same.
    """


@hookspec(firstresult=True)
def tracker_start_early(run: Run) -> bool | None:
    """Start a new run without importing the SDK, which takes seconds (optional).

    The run is there as `tracker_start_run` would have made it, which is not called then, but by
    whoever goes on with the run. Called in a worker process, perhaps while a hook of another run
    is importing the SDK: use neither the SDK nor anything that belongs to the whole process.

    Args:
        run: The run; what was begun before is left to `tracker_start_run`.

    Returns:
        True where the run has started; anything else leaves that to `tracker_start_run`, and so
        does an error.
    """


@hookspec(firstresult=True)
def tracker_url(run: Run) -> str | None:
    """Give the address that opens this run in the tracker's page, without credentials.

    Called right after the start and once more at the end. Must not wait for the network.
    """


@hookspec
def tracker_log(run: Run, batch: Batch) -> None:
    """Send a batch; when this returns, the backend holds it (see `Capabilities.acknowledges`).

    Args:
        run: The run.
        batch: Records that fit the flavor's capabilities.

    Raises:
        RetryLater: Send the same batch again later.
        RejectedRecords: These records will never be taken; send the others again without them.
        Exception: Anything else: core halves the batch until the record at fault is alone.
    """


@hookspec
def tracker_end_run(run: Run) -> None:
    """Mark the run as finished. All its records have been delivered or quarantined."""


@hookspec
def tracker_fail_run(run: Run, failure: Failure) -> None:
    """Mark the run as failed, killed or crashed, as `failure.status` says.

    Args:
        run: The run, with `ended_at`.
        failure: Its status, and what happened as far as it is known; `traceback` may be empty.
    """


@hookspec(firstresult=True)
def tracker_activate_run(
    run: Run, capture: Capture | None, is_starting: bool
) -> AbstractContextManager[object]:
    """Make the SDK's own calls land in this run while the step runs (optional).

    Called in the step's thread: use no network. Called also when the start is late or has
    failed: offer a local target then, so that the SDK's calls neither raise nor go astray.

    Args:
        run: The run.
        capture: Takes what the SDK's own calls log, for the run's journal; None where the tracker
            has `capture = false`, or nothing else is to get it.
        is_starting: Whether the start is under way and was not waited for, as in an event loop.
            What needs it may wait for it when the SDK is used, `run.deadline` seconds at most.

    Returns:
        A context manager. It may yield the SDK's run object, which `native_run` hands out.
    """


@hookspec(firstresult=True)
def tracker_remote_id(run: Run) -> str | None:
    """Give the backend's own id of the run, as far as it is known now (optional).

    Called after the start, and as the run is activated. What the SDK's own calls logged to a run
    of this id is not sent to it; a run that is made anew has another id, and gets it. Without this
    hook `run.id` is taken. Must not wait for the network.
    """


@hookspec(firstresult=True)
def tracker_command_variables(run: Run) -> dict[str, str] | None:
    """Give the SDK's own variables by which a command's native calls land in the run (optional).

    Called where a command is tracked whose Python may have no Trackyard, in place of
    `tracker_activate_run`, once the run has started or its start is late.

    Args:
        run: The run.

    Returns:
        Variables of the environment. None of them may quiet the SDK.
    """


@hookspec(firstresult=True)
def tracker_capture_alone(run: Run) -> AbstractContextManager[object] | None:
    """Serve as a source of records only, as `capture = ["FLAVOR"]` asks for (optional).

    The instance is of no configured tracker, and of a tracker's hooks only `tracker_activate_run`
    and `tracker_read_native` are called after this one. The SDK has to work in the step without
    account, network or prompt, and all that it writes has to go into `run.folder`. Only a flavor
    that has this hook can be such a source.

    Args:
        run: The run.

    Returns:
        A context manager that is entered around the activation, or None: it refuses calls that
        need a server.
    """


@hookspec(firstresult=True)
def tracker_read_native(run: Run, position: str) -> tuple[list[Record], str] | None:
    """Read what the SDK's own calls have logged to its own files behind a position (optional).

    For SDKs whose files hold more than their calls tell. Core calls it every second while the run
    is active, before its end is written, and in recovery, from a thread of its own.

    Args:
        run: The run.
        position: Where the call before this one came to; an empty text at first.

    Returns:
        The records, with the SDK's own steps and times, and the position behind them. What
        portable calls have logged there is left out.
    """


@hookspec(firstresult=True)
def tracker_read_files(run: Run, files: Path, position: str) -> tuple[list[Record], str] | None:
    """Read what some program writes while a run is active, behind a position (optional).

    As `capture = ["FLAVOR=FOLDER"]` asks for; called like `tracker_read_native`, on an instance
    that no other hook is called of.

    Args:
        run: The run; `run.folder` is the source's own.
        files: The file or folder that the user names, which need not be there yet.
        position: Where the call before this one came to; an empty text at first.

    Returns:
        The records, and the position behind them.
    """


@hookspec(firstresult=True)
def tracker_list_runs(query: RunQuery) -> Iterator[RemoteRun]:
    """List the runs that the backend, or a place such as a folder, holds (optional).

    With the `remote_id` of `tracker_read_run` that makes `trackyard import`. Also runs that
    Trackyard has not started. It is a generator, gives each run once, and writes nothing: not a
    byte of what it reads is another one afterwards.

    Args:
        query: Which runs; `query.place` is what stands behind the colon in `flavor:place`.

    Raises:
        RetryLater: The backend cannot be reached now.
        Exception: Anything else; its message says what is wrong with the place.
    """


@hookspec(firstresult=True)
def tracker_read_run(
    run: Run, remote_id: str | None
) -> Iterator[Record | RemoteRun | ImportNote | MetricPoints]:
    """Read the run back from the backend as it stored it (optional).

    Called on an instance that has not started the run, and whose run may have ended long ago:
    `run.folder` is that of the run, so that ids which a start kept there are found; of a run that
    was collected it holds small files alone, and files may be downloaded to it. Every record
    comes under the name by which it was sent, and the tags and config that the flavor mirrors
    (`trackyard.run_id`, `trackyard.status`, ...) come as tags or params.

    Args:
        run: The run. Of one that is imported only `folder` means something: files may be
            downloaded to it, which is gone when the records have been taken.
        remote_id: None for a run that this tracker was given. For an import the `remote_id` of a
            run that `tracker_list_runs` of the same instance has given: all of it is wanted, tags
            first, points in the order in which they were logged.

    Returns:
        The records, one after the other: no list of all. `MetricPoints` stands for many points of
        a metric, and is quicker; `PointsByMetric` makes such, a few thousand points at a time. For
        an import a `RemoteRun` among them lays what it knows over what the list has said, such as a
        status that only the end of a file tells, and an `ImportNote` says what cannot be read, or
        not as it is.
    """


@hookspec
def tracker_sync_run(run: Run) -> None:
    """Upload what the SDK itself kept offline for this run (optional).

    `trackyard sync` calls it, on an instance of its own, for a run that has ended while the
    tracker's `is_offline` was true; `tracker_url` follows. When it returns, the backend has
    the whole run, and it is not called again. It is called on a live run, too, where
    `Capabilities.forwards_native` says so: nothing of it may be final then.

    Raises:
        RetryLater: The backend cannot be reached now.
        RejectedRecords: All the rest is done, and the backend will never take these of what the
            SDK's own calls have logged: they are counted. The end of a run may say it, too.
        Exception: Anything else; the run stays where it is, and the message is shown.
    """


@hookspec
def tracker_delete_run(run: Run) -> None:
    """Delete the run, and what it logged, as the backend's own page would (optional).

    Called by commands on a run that has ended, on the instance that ended it or on a new one:
    `run.folder` is that of the run. A run that is not there is no error.

    Raises:
        RetryLater: The backend cannot be reached now.
        Exception: Anything else; the run stays, and the message is shown.
    """


@hookspec
def tracker_check() -> list[str]:
    """Name the problems that keep this tracker from working, each in one line (optional)."""


@hookspec(firstresult=True)
def tracker_ui_command(host: str, port: int | None) -> list[str]:
    """Give the command that serves the tracker's own local page (optional).

    Args:
        host: Address to listen on.
        port: Port to listen on, or None for the one that this tracker's URLs name.
    """


@hookspec
def tracker_filter_records(run: Run) -> Callable[[Record], Record | None]:
    """Give a function that every record passes before it is journaled (cross-cutting plugins).

    It returns the record, a changed one, or None to drop it: redaction, sampling.
    """


@hookspec
def tracker_observe_run(
    run: Run, log: Callable[..., None]
) -> AbstractContextManager[object] | None:
    """Give a context that is open while the run is, in the run's process (cross-cutting plugins).

    It is entered and left on a thread of its own: nobody waits for it to be entered, and the run's
    end waits a second at most for it to be left. What it raises is logged. Where the step runs in
    another process, as under the orchestrator `process` and on Ray, it is called there.

    A plugin with an attribute `observes_after` observes a run only once that has taken so many
    seconds; shorter ones cost nothing then.

    Args:
        run: The run; `run.folder` is the run's own.
        log: `log(metrics, step=None)` logs numbers into the run, from any thread; once the run has
            ended it does nothing.
    """
