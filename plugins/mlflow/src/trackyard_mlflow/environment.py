"""How is MLflow told what it takes from variables of the environment, while a step's code runs?

The environment is the step's, too: a loop over it, in another thread, raises where a variable comes
or goes. MLflow reads each of its own by an object, which is told in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs

from trackyard.contract import KEEP, process_values


@attrs.frozen
class _Given:
    """Gives a value, in place of a variable's `get`; two of one value are alike."""

    value: Any

    def __call__(self) -> Any:
        return self.value


@contextmanager
def told_to_mlflow(variables: Mapping[str, Any], patience: float) -> Iterator[None]:
    """Have MLflow find variables at given values inside a block.

    What others read, such as Databricks' own SDK, stands in the environment for as long.

    Args:
        variables: Texts by name; None unsets one, `KEEP` is the user's own value.
        patience: Seconds to wait at most for blocks that need other values.

    Raises:
        ProcessValueTakenError: Another block holds one of them at another value.
    """
    if not variables:
        yield
        return
    from mlflow import environment_variables as known

    objects = {name: found for name in variables if (found := getattr(known, name, None))}
    attributes: list[tuple[object, str, Any]] = [
        (of, "get", KEEP if variables[name] is KEEP else _given(of, variables[name]))
        for name, of in objects.items()
    ]
    claimed = {name: text for name, text in variables.items() if name in objects}
    environment = {name: text for name, text in variables.items() if name not in objects}
    with process_values(environment, attributes, patience, claimed):
        yield


def _given(variable: Any, text: str | None) -> _Given:
    if text is None:
        return _Given(variable.default)
    return _Given(text.lower() in ("true", "1") if variable.type is bool else variable.type(text))
