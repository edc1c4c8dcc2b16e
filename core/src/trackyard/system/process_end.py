"""With what does this process end: with an exception, with an exit code, or as it should?

Python tells nobody who runs at its end. While it is watched, `sys.excepthook` and `sys.exit` note
it, and do what they did before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn


class ProcessEnd:
    """Notes with what the process ends, as long as somebody wants to know."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._watchers = 0
        self._before: tuple[Callable[..., Any], Callable[..., Any]] | None = None

    def watch(self) -> None:
        """Begin to note it, for one who wants to know."""
        self._watchers += 1
        if self._before is None:
            self.error = None
            self._before = sys.excepthook, sys.exit
            sys.excepthook, sys.exit = self._note_exception, self._note_exit

    def forget(self) -> None:
        """Stop, where nobody else wants to know; what another has put there since stays."""
        self._watchers -= 1
        if self._watchers > 0 or self._before is None:
            return
        hook, leave = self._before
        if sys.excepthook == self._note_exception and sys.exit == self._note_exit:
            sys.excepthook, sys.exit = hook, leave
            self._before = None

    def _note_exception(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        self.error = error
        assert self._before is not None
        self._before[0](kind, error, trace)

    def _note_exit(self, code: Any = None, /) -> NoReturn:
        self.error = SystemExit(code)
        assert self._before is not None
        self._before[1](code)
        raise self.error  # what stands in for `sys.exit` has come back


PROCESS_END = ProcessEnd()
