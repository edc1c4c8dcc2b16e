"""What is a check: which sentence of the contract does it prove, and when does it apply?"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import pytest

from trackyard.testing.bounds import HasNotEnded, ended_within

_Function = TypeVar("_Function", bound=Callable[..., None])

# Gives the reason why a check does not apply to what is under test, or None where it does.
Requirement = Callable[[Any], str | None]


# What a start says without whose SDK nothing of a flavor works.
_NOT_IMPORTED = "tracker_start_run: ModuleNotFoundError"


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
                with ended_within(getattr(arguments[0], "longest_check", math.inf)):
                    function(*arguments, **keywords)
            except (BrokenContract, HasNotEnded) as broken:
                seen = str(broken)
            except Exception as error:
                seen = f"{type(error).__name__}: {error}"
                raise AssertionError(failure_message(sentence, seen)) from error
            else:
                return
            if _NOT_IMPORTED in seen:
                type(arguments[0])._cause = seen  # noqa: SLF001 - one package
            pytest.fail(failure_message(sentence, seen), pytrace=False)

        vars(run)["check"] = Check(sentence, requirements)
        return run  # type: ignore[return-value]

    return decorate


def failure_message(sentence: str, seen: str) -> str:
    """Quote the contract and say what was seen instead.

    Args:
        sentence: What the contract says.
        seen: What was seen instead.
    """
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


def checks_of(suite: type) -> dict[str, str]:
    """Give the sentence that each check of a suite proves, by the check's name."""
    found = {name: check_of(getattr(suite, name, None)) for name in dir(suite)}
    return {name: known.sentence for name, known in found.items() if known is not None}


def skip_unless_it_applies(function: object, subject: object) -> None:
    """Skip a check whose requirements what is under test does not meet.

    Args:
        function: The check.
        subject: What its requirements look at.
    """
    found = check_of(function)
    for requirement in found.requirements if found else ():
        reason = requirement(subject)
        if reason is not None:
            pytest.skip(reason)
