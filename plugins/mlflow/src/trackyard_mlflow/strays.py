"""Which runs has a step's code made where no tracker looks for them?"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger("trackyard")

# What MLflow makes in the working directory where nobody names a place.
_DEFAULTS = ("mlflow.db", "mlruns")


@contextmanager
def told(tracking_uri: str) -> Iterator[set[str]]:
    """Say at the end of a block where its runs are that its tracker does not have.

    Args:
        tracking_uri: Where the tracker has its runs.

    Yields:
        Addresses to which the code has written, as they become known.
    """
    begun, found = time.time_ns(), set[str]()
    defaults = [Path(name).absolute() for name in _DEFAULTS] if Path().exists() else []
    try:
        yield found
    finally:
        for path in defaults:
            if _is_written(path, begun) and not tracking_uri.endswith(str(path)):
                found.add(f"sqlite:///{path}" if path.is_file() else str(path))
        for uri in sorted(found):
            logger.warning(
                "MLflow's own calls have made runs in %s, where the experiment tracker has none; "
                "leave that address out of the code, or give the tracker tracking_uri = %r",
                uri,
                uri,
            )


def _is_written(path: Path, since: int) -> bool:
    try:
        return path.stat().st_mtime_ns >= since
    except OSError:
        return False
