"""How does a check give a flavor secrets that it can look for?"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from secrets import token_hex
from types import MappingProxyType
from typing import Any

import attrs

from trackyard.contract.flavors import Secret, is_secret
from trackyard.testing.workbench import Workbench

_NONE: Mapping[str, Any] = MappingProxyType({})


@contextmanager
def secrets_set(workbench: Workbench, table: Mapping[str, Any] = _NONE) -> Iterator[dict[str, str]]:
    """Configure every secret of the flavor that the table leaves open, and give the values.

    Args:
        workbench: The flavor's.
        table: Fields that get other values, too.
    """
    fields = [f.name for f in attrs.fields(workbench.flavor) if f.init and is_secret(f)]
    fields = [name for name in fields if name not in {**workbench.table, **table}]
    values = {name: token_hex(16) for name in fields}
    variables = {name: f"TRACKYARD_TESTING_{name.upper()}" for name in fields}
    try:
        os.environ.update({variables[name]: value for name, value in values.items()})
        references = {name: f"env:{variable}" for name, variable in variables.items()}
        workbench.configure(**{**table, **references})
        yield values
    finally:
        for variable in variables.values():
            os.environ.pop(variable, None)


def secrets_of(instance: Any) -> dict[str, str]:
    """Give the secrets that an instance of a flavor has, by field.

    Args:
        instance: The flavor's.
    """
    fields = [f.name for f in attrs.fields(type(instance)) if f.init and is_secret(f)]
    found = {name: getattr(instance, name) for name in fields}
    return {name: value.reveal() for name, value in found.items() if isinstance(value, Secret)}


def forms_of(secret: str) -> list[bytes]:
    """Give what a secret becomes within a longer text in base 64, as behind a user's name.

    Args:
        secret: The secret.
    """
    data, found = secret.encode(), []
    for before in range(3):
        text = base64.b64encode(b"\0" * before + data)
        # Letters at both ends hold bits of what is around it.
        found.append(text[-(-before * 8 // 6) : (before + len(data)) * 8 // 6])
    return found
