"""What is a check: which sentence of the contract does it prove, and when does it apply?"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import pytest

if TYPE_CHECKING:
    from trackyard.testing.workbench import Workbench

_Function = TypeVar("_Function", bound=Callable[..., None])

# Gives the reason why a check does not apply to a flavor, or None where it does.
Requirement = Callable[["Workbench"], str | None]


class BrokenContract(Exception):
    """Raised by a check: what the suite saw is not what the contract says."""


@attrs.frozen
class Check:
    """A check of the suite.

    Attributes:
        sentence: The sentence of the contract that it proves.
        requirements: When it applies.
    """

    sentence: str
    requirements: tuple[Requirement, ...] = ()


def check(sentence: str, *requirements: Requirement) -> Callable[[_Function], _Function]:
    """Make a test method a check: a failure quotes the sentence and says what was seen.

    Args:
        sentence: The sentence of the contract that the method proves.
        requirements: When it applies; each gives a reason to skip it, or None.
    """

    def decorate(function: _Function) -> _Function:
        @functools.wraps(function)
        def run(*arguments: Any, **keywords: Any) -> None:
            try:
                function(*arguments, **keywords)
            except BrokenContract as broken:
                seen = str(broken)
            except Exception as error:
                seen = f"{type(error).__name__}: {error}"
                raise AssertionError(failure_message(sentence, seen)) from error
            else:
                return
            pytest.fail(failure_message(sentence, seen), pytrace=False)

        vars(run)["check"] = Check(sentence, requirements)
        return run  # type: ignore[return-value]

    return decorate


def failure_message(sentence: str, seen: str) -> str:
    """Quote the contract and say what was seen instead."""
    return f'The contract says: "{sentence}"\nThe suite saw: {seen}'


def check_of(function: object) -> Check | None:
    """Give what `check` noted on a function; None where it is no check."""
    found = getattr(function, "check", None)
    return found if isinstance(found, Check) else None


def expect(fact: bool, seen: str) -> None:
    """Break the check unless a fact holds.

    Args:
        fact: What the contract promises.
        seen: What was seen instead, as a sentence without its end.

    Raises:
        BrokenContract: It does not hold.
    """
    if not fact:
        raise BrokenContract(seen)


def implements(*hooks: str) -> Requirement:
    """Require that the flavor implements hooks."""

    def reason(workbench: Workbench) -> str | None:
        missing = [hook for hook in hooks if hook not in workbench.hooks]
        return f"the flavor has no {', '.join(missing)}" if missing else None

    return reason


def declares(capability: str, *values: object) -> Requirement:
    """Require that the flavor declares a capability with one of some values."""

    def reason(workbench: Workbench) -> str | None:
        declared = getattr(workbench.capabilities, capability)
        return None if declared in values else f"the flavor declares {capability}={declared!r}"

    return reason


def limits(capability: str) -> Requirement:
    """Require that the flavor declares a limit for something."""

    def reason(workbench: Workbench) -> str | None:
        has_limit = getattr(workbench.capabilities, capability) is not None
        return None if has_limit else f"the flavor declares no {capability}"

    return reason


def is_packaged(workbench: Workbench) -> str | None:
    """Require that the flavor is installed, with an entry point."""
    return None if workbench.distribution else "the flavor is named by a dotted path"


def can_be_read(workbench: Workbench) -> str | None:
    """Require that runs can be read back."""
    if workbench.can_read:
        return None
    return "runs cannot be read back: no tracker_read_run, and no read_back fixture"


def outlives_its_process(workbench: Workbench) -> str | None:
    """Require that the backend is there after a process has died."""
    return None if workbench.backend_outlives_process else "the backend ends with its process"
