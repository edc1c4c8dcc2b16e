"""How are steps run one after the other, in this process?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from graphlib import TopologicalSorter


class LocalOrchestrator:
    """Runs the steps in this process, in the order in which the pipeline calls them."""

    def run(self, dependencies: Mapping[str, set[str]], run_step: Callable[[str], bool]) -> None:
        """Run every step once all that it waits for has finished; leave out the others."""
        finished: set[str] = set()
        places = {name: place for place, name in enumerate(dependencies)}
        sorter = TopologicalSorter(dependencies)
        sorter.prepare()
        waiting: list[str] = []
        while sorter.is_active():
            waiting = sorted([*waiting, *sorter.get_ready()], key=places.__getitem__)
            name = waiting.pop(0)
            if dependencies[name] <= finished and run_step(name):
                finished.add(name)
            sorter.done(name)
