"""How do plugins watch a run while it goes on, without the step waiting for any of them?

Each enters and leaves its context on a thread of its own: one that is slow, hangs or fails is
left alone, and the step has not noticed.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import Any

from trackyard.contract.records import Run
from trackyard.hooks.guards import reason_of, tried
from trackyard.hooks.managers import NamedPlugins, manager_of
from trackyard.hooks.rules import implemented_hooks
from trackyard.system.conditions import Event
from trackyard.system.inside_hooks import inside_hook
from trackyard.system.interruption import start_thread

logger = logging.getLogger("trackyard")

HOOK = "tracker_observe_run"
# Seconds that a run's end waits for all of its observers together: for a last value, say.
PATIENCE = 1.0

Log = Callable[[Mapping[str, Any], Any], None]


@contextmanager
def observed(plugins: NamedPlugins, run: Run, log: Log) -> Iterator[None]:
    """Let plugins watch a run while the block runs, in its process.

    Args:
        plugins: The plugins that stand across all trackers.
        run: The run.
        log: Logs numbers into the run, at a training step or None.
    """
    observers = [
        _Observer(name, plugin, run, log)
        for name, plugin in plugins
        if HOOK in implemented_hooks(plugin)
    ]
    process = os.getpid()
    for observer in observers:
        observer.begin()
    try:
        yield
    finally:
        if observers and os.getpid() == process and not sys.is_finalizing():
            end = time.monotonic() + PATIENCE
            for observer in observers:
                observer.tell_to_end()
            for observer in observers:
                observer.wait_for(max(0.0, end - time.monotonic()))


class _Observer:
    """One plugin's context around one run."""

    def __init__(self, name: str, plugin: object, run: Run, log: Log) -> None:
        self._name = name
        self._run = run
        self._log_into_run = log
        self._is_over = False
        self._ending = Event()
        self._manager = manager_of([(name, plugin)])
        self._thread = Thread(target=self._observe, name=f"trackyard-{name}", daemon=True)

    def begin(self) -> None:
        try:
            start_thread(self._thread)
        except RuntimeError as error:  # no thread is to be had: the run goes on unobserved
            logger.warning("plugin %r does not observe the run: %s", self._name, error)

    def tell_to_end(self) -> None:
        self._ending.set()

    def wait_for(self, seconds: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(seconds)
        self._is_over = True
        if self._thread.is_alive():
            text = "plugin %r: %s has not ended with its run; it is left alone"
            logger.warning(text, self._name, HOOK)

    def _observe(self) -> None:
        with inside_hook():
            for manager in self._manager.hook.tracker_observe_run(run=self._run, log=self._log):
                self._hold(manager)

    def _hold(self, manager: Any) -> None:
        """Enter a context, and leave it when the run ends."""
        entered = tried(lambda: manager.__enter__())  # noqa: PLW0108 - it may have no such method
        if entered.error is not None:
            self._warn(entered.error)
            return
        self._ending.wait()
        left = tried(lambda: manager.__exit__(None, None, None))
        if left.error is not None:
            self._warn(left.error)

    def _warn(self, error: BaseException) -> None:
        logger.warning("plugin %r: %s", self._name, reason_of(HOOK, error))

    def _log(self, metrics: Mapping[str, Any], step: Any = None) -> None:
        """Log numbers into the run; once it has ended that does nothing."""
        if not self._is_over:
            self._log_into_run(metrics, step)
