"""In which order, and how many at once, do the steps of a pipeline run?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from graphlib import TopologicalSorter


class Schedule:
    """Runs each step once all that it waits for has finished; leaves out the others.

    Args:
        dependencies: For each step the names of those that it waits for.
        run_step: Runs a step by name, all its attempts; True where it finished.
        expand: Gives the names of the parts that a step consists of, when its turn has come, or
            None where it is one.
    """

    def __init__(
        self,
        dependencies: Mapping[str, set[str]],
        run_step: Callable[[str], bool],
        expand: Callable[[str], list[str] | None],
    ) -> None:
        self._dependencies = dependencies
        self._run_step = run_step
        self._expand = expand
        self._places = {name: place for place, name in enumerate(dependencies)}
        self._sorter = TopologicalSorter(dependencies)
        self._finished: set[str] = set()
        self._waiting: list[str] = []
        self._whole: dict[str, str] = {}  # of a part, the step that it belongs to
        self._left: dict[str, int] = {}  # parts of a step that have not ended
        self._sorter.prepare()

    def run_in_order(self) -> None:
        """Run one after the other in this thread, in the order in which the pipeline has them."""
        while (name := self._next()) is not None:
            self._note(name, self._run_step(name))

    def run_side_by_side(self, most: int, stop: Callable[[], None]) -> None:
        """Run up to a number of steps at once, each from a thread of its own.

        Args:
            most: The number.
            stop: Called where one of them, or Ctrl-C, ends the whole run: ends those that run.
        """
        from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

        running: dict[Future[bool], str] = {}
        with ThreadPoolExecutor(most, "trackyard-step") as pool:
            try:
                while True:
                    while len(running) < most and (name := self._next()) is not None:
                        running[pool.submit(self._run_step, name)] = name
                    if not running:
                        return
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        self._note(running.pop(future), future.result())
            except BaseException:
                stop()
                raise

    def _next(self) -> str | None:
        """Give a step that may run now, or None where there is none at the moment."""
        while True:
            self._add(self._sorter.get_ready() if self._sorter.is_active() else ())
            if not self._waiting:
                return None
            name = self._waiting.pop(0)
            if name in self._whole:
                return name
            if not self._dependencies[name] <= self._finished:
                self._sorter.done(name)
                continue
            parts = self._expand(name)
            if parts is None:
                return name
            self._left[name] = len(parts)
            self._whole.update(dict.fromkeys(parts, name))
            self._places.update(dict.fromkeys(parts, self._places[name]))
            self._finished.add(name)  # until a part says otherwise
            if not parts:
                self._sorter.done(name)
            self._waiting = [*parts, *self._waiting]

    def _add(self, names: Iterable[str]) -> None:
        if names:
            self._waiting = sorted([*self._waiting, *names], key=self._places.__getitem__)

    def _note(self, name: str, is_finished: bool) -> None:
        whole = self._whole.get(name)
        if whole is None:
            if is_finished:
                self._finished.add(name)
            self._sorter.done(name)
            return
        if not is_finished:
            self._finished.discard(whole)
        self._left[whole] -= 1
        if not self._left[whole]:
            self._sorter.done(whole)
