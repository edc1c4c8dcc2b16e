"""When is a step's earlier result the one that it would give again?

When its code, its inputs and its params are equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from trackyard.pipelines.fingerprints import Fingerprints
from trackyard.pipelines.types import output_names


def cache_key(function: Callable[..., Any], arguments: Mapping[str, Any]) -> str | None:
    """Give a text that is equal for equal code and arguments; None where that cannot be told.

    Args:
        function: The step's function.
        arguments: By parameter name; a `StoredOutput` stands for what it names.
    """
    fingerprints = Fingerprints()
    try:
        digest = hashlib.sha256(fingerprints.of((function, output_names(function))))
        for name, value in sorted(arguments.items()):
            digest.update(fingerprints.of((name, value), is_strict=True))
    except Exception:  # a value that cannot be pickled decides itself how it fails
        return None
    return digest.hexdigest()
