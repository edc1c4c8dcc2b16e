"""What all tests of Ray share: one cluster at a time on this machine."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def only_cluster() -> Iterator[None]:
    """Wait until no other process of these tests has a cluster: two that start at once fail."""
    with (Path(tempfile.gettempdir()) / "trackyard-tests-ray.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
