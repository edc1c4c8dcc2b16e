"""How do plugins watch a run while it goes on, without the step waiting for any of them?

Each enters and leaves its context on a thread of its own: one that is slow, hangs or fails is
left alone, and the step has not noticed. A thread that is through serves the next run, if that
begins at once, as it does in a pipeline of short steps. For a plugin that has no use for short
runs, and says so, no thread is woken for them.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

import attrs

from trackyard.contract.records import Run
from trackyard.hooks.guards import reason_of, tried
from trackyard.hooks.managers import NamedPlugins, manager_of
from trackyard.hooks.rules import implemented_hooks
from trackyard.system.inside_hooks import inside_hook
from trackyard.system.interruption import start_thread

logger = logging.getLogger("trackyard")

HOOK = "tracker_observe_run"
# The attribute by which a plugin says how many seconds a run has to take before it is observed.
AFTER = "observes_after"
# Seconds that a run's end waits for all of its observers together: for a last value, say.
PATIENCE = 1.0
# Seconds after which a thread ends that no run needs: user code that forks is warned of threads.
_IDLE = 0.2

Log = Callable[[Mapping[str, Any], Any], None]


@contextmanager
def observed(
    plugins: NamedPlugins, run: Run, log: Log, folder: Path | None = None
) -> Iterator[None]:
    """Let plugins watch a run while the block runs, in its process.

    Args:
        plugins: The plugins that stand across all trackers.
        run: The run.
        log: Logs numbers into the run, at a training step or None.
        folder: The folder that plugins find in it; its own by default.
    """
    observers = [
        _Observer(name, plugin, run, log, folder or run.folder)
        for name, plugin in plugins
        if HOOK in implemented_hooks(plugin)
    ]
    process = os.getpid()
    threads = _threads(process)
    for observer in observers:
        if observer.after > 0:
            threads.begin_later(observer)
        else:
            threads.begin(observer)
    try:
        yield
    finally:
        if observers and os.getpid() == process and not sys.is_finalizing():
            end = time.monotonic() + PATIENCE
            observers = [o for o in observers if not threads.has_not_begun(o)]
            for observer in observers:
                observer.tell_to_end()
            for observer in observers:
                observer.wait_for(max(0.0, end - time.monotonic()))


class _Observer:
    """One plugin's context around one run.

    Attributes:
        after: Seconds after which it begins.
        due: When that is, by the monotonic clock.
    """

    def __init__(self, name: str, plugin: object, run: Run, log: Log, folder: Path) -> None:
        self.name = name
        self._folder = folder
        after = tried(lambda: float(getattr(plugin, AFTER, 0.0))).value
        self.after = after or 0.0
        self.due = time.monotonic() + self.after
        self._plugin = plugin
        self._run = run
        self._log_into_run = log
        self._is_over = False
        # Plain locks, each of which is released once: no handler of a signal can break them.
        self._ending, self._left = Lock(), Lock()
        self._ending.acquire()
        self._left.acquire()

    def tell_to_end(self) -> None:
        self._ending.release()

    def wait_for(self, seconds: float) -> None:
        has_left = self._left.acquire(timeout=seconds)
        self._is_over = True
        if not has_left:
            text = "plugin %r: %s has not ended with its run; it is left alone"
            logger.warning(text, self.name, HOOK)

    def observe(self) -> None:
        """Hold the contexts until the run ends."""
        manager_of_plugin = manager_of([(self.name, self._plugin)])
        run = attrs.evolve(self._run, folder=self._folder)
        with inside_hook():
            for manager in manager_of_plugin.hook.tracker_observe_run(run=run, log=self._log):
                self._hold(manager)

    def leave(self) -> None:
        """Say that it is through."""
        self._left.release()

    def _hold(self, manager: Any) -> None:
        """Enter a context, and leave it when the run ends."""
        entered = tried(lambda: manager.__enter__())  # noqa: PLW0108 - it may have no such method
        if entered.error is not None:
            self._warn(entered.error)
            return
        with self._ending:  # free from the end on
            pass
        left = tried(lambda: manager.__exit__(None, None, None))
        if left.error is not None:
            self._warn(left.error)

    def _warn(self, error: BaseException) -> None:
        logger.warning("plugin %r: %s", self.name, reason_of(HOOK, error))

    def _log(self, metrics: Mapping[str, Any], step: Any = None) -> None:
        """Log numbers into the run; once it has ended that does nothing."""
        if not self._is_over:
            self._log_into_run(metrics, step)


class _Threads:
    """The threads of one process in which plugins hold their contexts, one for each at a time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._idle: list[SimpleQueue[_Observer]] = []
        self._later: list[_Observer] = []
        self._is_awaiting = False  # a thread looks at those from time to time

    def begin(self, observer: _Observer) -> None:
        """Have a plugin observe a run, in a thread that is idle or a new one.

        Args:
            observer: The plugin's.
        """
        with self._lock:
            work = self._idle.pop() if self._idle else None
        if work is not None:
            work.put(observer)
            return
        work = SimpleQueue()
        work.put(observer)
        thread = Thread(target=self._serve, args=(work,), name="trackyard-observer", daemon=True)
        try:
            start_thread(thread)
        except RuntimeError as error:  # no thread is to be had: the run goes on unobserved
            observer.leave()
            logger.warning("plugin %r does not observe the run: %s", observer.name, error)

    def begin_later(self, observer: _Observer) -> None:
        """Have a plugin observe a run once that has taken so long, unless it is over by then.

        Args:
            observer: The plugin's.
        """
        with self._lock:
            self._later.append(observer)
            if self._is_awaiting:
                return
            self._is_awaiting = True
        thread = Thread(target=self._await, name="trackyard-observers", daemon=True)
        try:
            start_thread(thread)
        except RuntimeError as error:  # no thread is to be had: the run goes on unobserved
            self._is_awaiting = False
            logger.warning("plugin %r does not observe the run: %s", observer.name, error)

    def has_not_begun(self, observer: _Observer) -> bool:
        """Tell whether a plugin has not begun to observe, which it will not do any more.

        Args:
            observer: The plugin's.
        """
        with self._lock:
            if observer not in self._later:
                return False
            self._later.remove(observer)
            return True

    def _await(self) -> None:
        """Let plugins begin that are due, until no run is left for a while."""
        is_idle = False
        while True:
            now = time.monotonic()
            with self._lock:
                due = [observer for observer in self._later if observer.due <= now]
                self._later = [observer for observer in self._later if observer.due > now]
                if not self._later and is_idle:
                    self._is_awaiting = False
                    return
                is_idle = not self._later
                pause = min([_IDLE, *(observer.due - now for observer in self._later)])
            for observer in due:
                self.begin(observer)
            time.sleep(pause)

    def _serve(self, work: SimpleQueue[_Observer]) -> None:
        """Observe one run after the other, until none has come for a while."""
        while True:
            try:
                observer = work.get(timeout=_IDLE)
            except Empty:
                with self._lock:
                    if work in self._idle:
                        self._idle.remove(work)
                        return
                continue  # a run is about to come
            observer.observe()
            with self._lock:
                self._idle.append(work)
            observer.leave()


@lru_cache(maxsize=1)
def _threads(process: int) -> _Threads:  # noqa: ARG001 - a forked child has none of its parent's
    """Give the threads of a process."""
    return _Threads()
