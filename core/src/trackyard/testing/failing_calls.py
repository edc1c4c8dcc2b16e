"""How do calls of an SDK fail inside a flavor's hook, and nowhere else?"""

from __future__ import annotations

import errno
import functools
import importlib
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Any, Literal
from unittest.mock import patch

import attrs

from trackyard.testing.faulty import is_running

CallFault = Literal[
    "no space (ENOSPC)",
    "no descriptors (EMFILE)",
    "an error before it",
    "an error after it",
    "an error after the second",
]
_NUMBERS = MappingProxyType(
    {"no space (ENOSPC)": errno.ENOSPC, "no descriptors (EMFILE)": errno.EMFILE}
)


@attrs.define
class FailingCalls:
    """Lets one of the calls fail that a hook makes.

    Attributes:
        hook: The hook, which the flavor announces (see `faulty`).
        fault: What happens.
        left: The calls until then.
        met: How often it happened.
    """

    hook: str
    fault: CallFault
    left: int = attrs.field(init=False)
    met: int = 0

    def __attrs_post_init__(self) -> None:
        self.left = 2 if self.fault.endswith("second") else 1

    def wrap(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Give what does as a call does, or fails.

        Args:
            original: The call.
        """

        @functools.wraps(original)
        def call(*arguments: Any, **keywords: Any) -> Any:
            if not is_running(self.hook):
                return original(*arguments, **keywords)
            self.left -= 1
            if self.left != 0:
                return original(*arguments, **keywords)
            self.met += 1
            if "after" in self.fault:
                original(*arguments, **keywords)
            raise self.error()

        return call

    def error(self) -> Exception:
        """Make what is raised."""
        number = _NUMBERS.get(self.fault)
        return OSError(number, os.strerror(number)) if number else RuntimeError("the SDK has a bug")


@contextmanager
def failing_calls(hook: str, names: Sequence[str], fault: CallFault) -> Iterator[FailingCalls]:
    """Let a call of an SDK fail in a hook while this is open.

    Args:
        hook: The hook.
        names: The calls, each as `module:function` or `module:Class.method`.
        fault: What happens to one of them.

    Raises:
        ValueError: There is no such call, or it cannot be replaced.
    """
    failing = FailingCalls(hook, fault)
    with ExitStack() as stack:
        for name in names:
            owner, attribute = _owner_of(name)
            static = inspect.getattr_static(owner, attribute)
            wrapped: Any
            if isinstance(static, staticmethod | classmethod):
                wrapped = type(static)(failing.wrap(static.__func__))
            else:
                wrapped = failing.wrap(getattr(owner, attribute))
            try:
                stack.enter_context(patch.object(owner, attribute, wrapped))
            except TypeError as error:
                raise ValueError(f"{name} of sdk_calls is built in: name its caller") from error
        yield failing


def _owner_of(name: str) -> tuple[Any, str]:
    module, _, path = name.partition(":")
    *owners, attribute = path.split(".")
    try:
        owner = functools.reduce(getattr, owners, importlib.import_module(module))
        getattr(owner, attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"sdk_calls names {name}, which is not there: {error}") from error
    return owner, attribute
