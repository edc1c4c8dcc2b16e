"""What keeps code of others from ending the process, such as a module that is imported?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any, Never


@contextmanager
def no_exit() -> Iterator[None]:
    """Let `os._exit` and `os.abort` raise SystemExit in a block, in this thread.

    Other threads, and forked children, end as they want to. What ends a process without Python's
    knowledge, such as a library in C that crashes, is not kept from it.
    """
    originals = {name: getattr(os, name) for name in ("_exit", "abort")}
    here, is_open = (os.getpid(), get_ident()), [True]

    def refusing(name: str, original: Callable[..., Never]) -> Callable[..., Never]:
        def refuse(*arguments: Any) -> Never:
            if is_open and here == (os.getpid(), get_ident()):
                called = f"os.{name}({', '.join(map(repr, arguments))})"
                raise SystemExit(f"{called} would end the process")
            original(*arguments)

        return refuse

    for name, original in originals.items():
        setattr(os, name, refusing(name, original))
    try:
        yield
    finally:
        is_open.clear()  # a module may have taken the function with it
        for name, original in originals.items():
            setattr(os, name, original)
