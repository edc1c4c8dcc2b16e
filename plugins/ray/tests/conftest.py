"""What all tests of Ray share: one cluster at a time on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray_clusters

# Which checks of the suite are `slow`: of an own cluster what its start and its end change, of a
# shared one each kind of outcome once. The rest is `long`.
SLOW = {
    "TestOwnCluster": (
        "test_making_one_starts_nothing",
        "test_no_process_is_left",
        "test_ctrl_c_stops_the_steps",
    ),
    "TestSharedCluster": (
        "test_no_check",
        "test_it_",
        "test_outputs_come_back",
        "test_death_is_a_crash_of_that_step_alone[exit 0]",
        "test_child_that_is_left_holds_nothing_up",
    ),
}
MODULES = Path(__file__).parents[3] / "core" / "tests" / "modules"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the checks of the suite."""
    checks = SLOW.get(getattr(getattr(item, "cls", None), "__name__", ""))
    if checks is not None:
        rest = pytest.mark.long(reason="all checks, each with a script that starts workers of Ray")
        item.add_marker(pytest.mark.slow if item.name.startswith(checks) else rest)


@pytest.fixture(scope="module")
def only_cluster() -> Iterator[None]:
    """Have no other process of these tests have a cluster."""
    with ray_clusters.only_cluster():
        yield


@pytest.fixture(scope="module")
def cluster(only_cluster: None) -> Iterator[str]:
    """Start a cluster of three workers for all tests of a module; give its address."""
    with ray_clusters.cluster(num_cpus=3, modules=MODULES) as address:
        yield address
