"""Does this process run a notebook, when does a cell begin, and how does what it shows change?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any


def is_in_notebook() -> bool:
    """Tell whether a kernel runs this process: what goes to stderr would be red there."""
    return getattr(_shell(), "kernel", None) is not None


class Board:
    """A place in the output of the cell that is running, whose markup is written again and again.

    Raises:
        ImportError: This is no notebook.
    """

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self._html: Any = HTML
        self._handle: Any = display(self._html(""), display_id=True)

    def show(self, markup: str) -> None:
        """Write it anew.

        Args:
            markup: HTML without scripts.
        """
        self._handle.update(self._html(markup))


def before_each_cell(call: Callable[[], None]) -> Callable[[], None]:
    """Have a function called before each cell from the next one on; give what ends that.

    Args:
        call: The function.
    """
    events = getattr(_shell(), "events", None)
    if events is None:
        return _nothing

    def called(*_: object) -> None:
        call()

    events.register("pre_execute", called)

    def end() -> None:
        with suppress(ValueError):  # the shell has forgotten it
            events.unregister("pre_execute", called)

    return end


def _nothing() -> None: ...


def _shell() -> Any:
    """Give IPython's shell, of a notebook or of a terminal; None where this process has none."""
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
