"""How are the hooks of one tracker called without its mistakes reaching anyone else?

Each tracker of each run has a plugin manager of its own, holding that one instance and the
cross-cutting plugins. This is the only file that calls hooks, and it alone catches what they raise.
"""

from __future__ import annotations

import faulthandler
import functools
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any, Literal

import attrs
import pluggy

from trackyard import hookspecs
from trackyard.errors import RejectedRecords, RetryLater
from trackyard.hook_rules import implemented_hooks, marked_functions
from trackyard.records import Batch, Failure, Record, Run
from trackyard.redaction import Redactor
from trackyard.secret_shapes import without_secrets
from trackyard.values import to_text

logger = logging.getLogger("trackyard")

NamedPlugins = Sequence[tuple[str, object]]
RecordFilter = Callable[[Record], Record | None]


@attrs.frozen
class Outcome:
    """What came of one hook call.

    Attributes:
        kind: `done`; `later` where the backend could not be reached; `rejected` where it named
            records that it will never take; `broken` for any other error.
        value: What the hook returned.
        reason: The error as one line.
        after: Seconds to wait at least before the next try, where the hook said so.
        records: The rejected records.
    """

    kind: Literal["done", "later", "rejected", "broken"] = "done"
    value: Any = None
    reason: str = ""
    after: float | None = None
    records: tuple[Record, ...] = ()


class TrackerHooks:
    """The hooks of one tracker for one run. Calls come one at a time, on the tracker's worker.

    Args:
        tracker: The flavor's instance.
        name: The tracker's name, for messages.
        plugins: Cross-cutting plugins by name.
        kill_after: Seconds after which a hook that does not return ends this process; only in a
            worker process, which serves nothing else.
    """

    def __init__(
        self,
        tracker: object,
        name: str,
        plugins: NamedPlugins = (),
        kill_after: float | None = None,
    ) -> None:
        self.name = name
        self._kill_after = kill_after
        self.tracker = tracker
        self._manager = pluggy.PluginManager("trackyard")
        self._manager.add_hookspecs(hookspecs)
        for plugin_name, plugin in plugins:
            self._manager.register(_guarded(plugin, plugin_name), name=plugin_name)
        # Registered last, hence called first, inside the wrappers of all the others.
        self._manager.register(tracker, name=f"experiment tracker {name}")

    def start_run(self, run: Run) -> Outcome:
        """Start or continue the run; the value is the backend's cursor or None."""
        outcome = self._call("tracker_start_run", run=run)
        if outcome.value is not None and type(outcome.value) is not int:
            return attrs.evolve(outcome, value=None)
        return outcome

    def url(self, run: Run) -> str | None:
        """Give the run's address, without the credentials that it may carry."""
        value = self._call("tracker_url", run=run).value
        if not isinstance(value, str) or not value:
            return None
        return without_secrets(without_credentials(value))

    def log(self, run: Run, batch: Batch) -> Outcome:
        """Send a batch."""
        return self._call("tracker_log", run=run, batch=batch)

    def end_run(self, run: Run) -> Outcome:
        """Mark the run as finished."""
        return self._call("tracker_end_run", run=run)

    def fail_run(self, run: Run, failure: Failure) -> Outcome:
        """Mark the run as failed, killed or crashed."""
        return self._call("tracker_fail_run", run=run, failure=failure)

    def sync_run(self, run: Run) -> Outcome:
        """Upload what the SDK kept offline."""
        return self._call("tracker_sync_run", run=run)

    def read_run(self, run: Run) -> Outcome:
        """Read the run back from the backend; the value is a list of records."""
        outcome = self._call("tracker_read_run", run=run)
        if outcome.kind != "done":
            return outcome
        try:
            return Outcome(value=list(outcome.value or ()))
        except Exception as error:  # a generator raises when it is read
            return Outcome("broken", reason=_reason("tracker_read_run", error))

    @property
    def can_delete(self) -> bool:
        """Tell whether the tracker can delete a run from its backend."""
        return "tracker_delete_run" in implemented_hooks(self.tracker)

    def delete_run(self, run: Run) -> Outcome:
        """Delete the run from the backend."""
        return self._call("tracker_delete_run", run=run)

    def check(self) -> list[str]:
        """Name the tracker's problems; an error is one of them."""
        outcome = self._call("tracker_check")
        if outcome.kind != "done":
            return [outcome.reason]
        answers = (a if isinstance(a, list | tuple) else [a] for a in outcome.value)
        return [to_text(problem) for answer in answers for problem in answer]

    def ui_command(self, host: str, port: int | None) -> Outcome:
        """Give the command that serves the tracker's own page; the value is argv or None."""
        return self._call("tracker_ui_command", host=host, port=port)

    @contextmanager
    def activated(self, run: Run) -> Iterator[object]:
        """Let the SDK's own calls land in the run, in the calling thread; yields its run object.

        Neither entering nor leaving raises, and the step's exception never reaches the plugin,
        which could swallow it. Only a real Ctrl-C comes through.
        """
        outcome = self._call("tracker_activate_run", run=run)
        manager, entered, native = outcome.value, False, None
        if outcome.reason:
            logger.warning("experiment tracker %r: %s", self.name, outcome.reason)
        if manager is not None:
            with self._contained("tracker_activate_run"):
                native = manager.__enter__()
                entered = True
        try:
            yield native
        finally:
            if entered:
                with self._contained("tracker_activate_run"):
                    manager.__exit__(None, None, None)

    @contextmanager
    def _contained(self, hook: str) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # a plugin's sys.exit() must not end the step either
            if _is_from_user(error):
                raise
            logger.warning("experiment tracker %r: %s", self.name, _reason(hook, error))

    def _call(self, hook: str, **arguments: Any) -> Outcome:
        try:
            with _deadly_after(self._kill_after):
                return Outcome(value=getattr(self._manager.hook, hook)(**arguments))
        except RetryLater as error:
            return Outcome("later", reason=_reason(hook, error), after=_seconds(error))
        except RejectedRecords as error:
            records = getattr(error, "records", ())
            return Outcome("rejected", reason=_reason(hook, error), records=records)
        except (ConnectionError, TimeoutError) as error:
            return Outcome("later", reason=_reason(hook, error))
        except BaseException as error:  # sys.exit() in a plugin, too, ends nothing but its call
            if _is_from_user(error):
                raise
            logger.debug("experiment tracker %r: %s failed", self.name, hook, exc_info=True)
            return Outcome("broken", reason=_reason(hook, error))


@contextmanager
def _deadly_after(seconds: float | None) -> Iterator[None]:
    """End the process where a hook takes too long: nothing else stops one that hangs in C."""
    if seconds is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def record_filters(plugins: NamedPlugins, run: Run) -> list[RecordFilter]:
    """Ask the cross-cutting plugins for their filters, once per run.

    Where one fails to give its filter every record is dropped: it may be there to keep a secret
    out.
    """
    if not plugins:
        return []
    manager = pluggy.PluginManager("trackyard")
    manager.add_hookspecs(hookspecs)
    for name, plugin in plugins:
        manager.register(plugin, name=name)
    try:
        filters: list[RecordFilter] = manager.hook.tracker_filter_records(run=run)
        for given in filters:
            if not callable(given):
                raise TypeError(f"gave {type(given).__name__}, which is no function")
    except BaseException as error:
        if _is_from_user(error):
            raise
        names = [name for name, plugin in plugins if _filters(plugin)]
        logger.warning(
            "every record of run %r is dropped, since plugin %s failed: %s; mend it, or type: "
            "TRACKYARD_DISABLE_PLUGINS=%s",
            run.name,
            " or ".join(map(repr, names)),
            _reason("tracker_filter_records", error),
            ",".join(names),
        )
        return [_drop]
    return filters


def _filters(plugin: object) -> bool:
    """Tell whether a plugin has a part in filtering."""
    return "tracker_filter_records" in implemented_hooks(plugin)


def _drop(_record: Record) -> None:
    return None


def apply_filters(filters: list[RecordFilter], record: Record) -> Record | None:
    """Pass a record through the filters.

    A filter that raises, or gives no record, drops it: it may be there to keep a secret out.
    """
    for filter_ in filters:
        try:
            filtered = filter_(record)
            if filtered is None:
                return None
            if not isinstance(filtered, Record):
                raise TypeError(f"a filter gave {type(filtered).__name__}")
        except BaseException as error:  # a filter runs in the step's thread
            if _is_from_user(error):
                raise
            logger.warning("a record was dropped: %s", _reason("tracker_filter_records", error))
            return None
        record = filtered
    return record


def without_credentials(url: str) -> str:
    """Remove user name and password from a URL."""
    from urllib.parse import urlsplit, urlunsplit

    try:
        parts = urlsplit(url)
    except ValueError:
        return url.rpartition("@")[2]
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _reason(hook: str, error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # an exception whose __str__ raises
        text = "(no message)"
    return f"{hook}: {type(error).__name__}: {Redactor().redact(text)[:500]}"


def _seconds(error: RetryLater) -> float | None:
    """Give `after` where it is a time to wait; a flavor's own subclass may have left it out."""
    after = getattr(error, "after", None)
    return float(after) if isinstance(after, int | float) and after > 0 else None


def _is_from_user(error: BaseException) -> bool:
    """Tell whether this is a real Ctrl-C, which Python raises in the main thread alone."""
    return isinstance(error, KeyboardInterrupt) and current_thread() is main_thread()


def _guarded(plugin: object, name: str) -> object:
    """Wrap a cross-cutting plugin, so that its errors neither stop nor repeat a delivery."""
    guarded = type("GuardedPlugin", (), {})()
    for attribute, function in marked_functions(plugin):
        method = getattr(plugin, attribute)
        hook = getattr(hookspecs, function.trackyard_impl.get("specname") or attribute)
        if function.trackyard_impl.get("wrapper"):
            guard = _guard_wrapper
        else:
            guard = _guard_listener if hook.trackyard_spec["firstresult"] else _guard_call
        setattr(guarded, attribute, guard(method, name))
    return guarded


def _guard_call(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any, **keywords: Any) -> Any:
        try:
            return method(*arguments, **keywords)
        except BaseException as error:
            _warn_of_plugin(name, method, error)
            return None

    return call


def _guard_listener(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Call a plain function after a hook that has one answer, which is the tracker's to give."""
    call = _guard_call(method, name)

    @functools.wraps(method)
    def listen(*arguments: Any, **keywords: Any) -> Generator[None, Any, Any]:
        result = yield
        call(*arguments, **keywords)
        return result

    listen.trackyard_impl = {**call.trackyard_impl, "wrapper": True}  # type: ignore[attr-defined]
    return listen


def _guard_wrapper(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrap(*arguments: Any, **keywords: Any) -> Generator[None, Any, Any]:
        wrapper = method(*arguments, **keywords)
        try:
            next(wrapper)
        except BaseException as error:
            _warn_of_plugin(name, method, error)
            return (yield)
        try:
            result = yield
        except BaseException as error:
            _show_error(wrapper, name, method, error)
            raise
        try:
            wrapper.send(result)
        except StopIteration as stop:
            return stop.value
        except BaseException as error:
            _warn_of_plugin(name, method, error)
        return result

    return wrap


def _show_error(
    wrapper: Generator[None, Any, Any], name: str, method: Callable[..., Any], error: BaseException
) -> None:
    """Let a wrapper see the hook's error; it cannot hide it."""
    try:
        wrapper.throw(error)
    except StopIteration:
        return
    except BaseException as raised:
        if raised is not error:
            _warn_of_plugin(name, method, raised)


def _warn_of_plugin(name: str, method: Callable[..., Any], error: BaseException) -> None:
    if _is_from_user(error):
        raise error
    logger.warning("plugin %r: %s", name, _reason(method.__name__, error))
