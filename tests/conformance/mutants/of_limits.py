"""Flavors that do not say what their backend cannot hold, each one thing."""

from __future__ import annotations

from typing import Any, ClassVar

from mutants.narrow import LIMITS, NarrowLedger
from trackyard.contract import Capabilities, flavor


def _but(*names: str, **others: Any) -> Capabilities:
    """Declare all limits of the narrow backend but some."""
    return Capabilities(**{k: v for k, v in LIMITS.items() if k not in names} | others)


@flavor
class SaysNothingOfOnePointAStep(NarrowLedger):
    """A second point of a step takes the place of the first, and nobody hears of it."""

    caught_by = "test_irregular_points_are_kept"
    capabilities: ClassVar[Capabilities] = _but("points_per_step")


@flavor
class KeepsTheFirstPointOfAKey(NarrowLedger):
    """One point of a step is declared, and one of a key is kept."""

    caught_by = "test_each_point_of_a_step_is_kept"

    def place(self, number, *point):
        return "metric", point[0]


@flavor
class SaysNothingOfItsLeastStep(NarrowLedger):
    """Points at negative steps are dropped."""

    caught_by = "test_irregular_points_are_kept"
    capabilities: ClassVar[Capabilities] = _but("least_step")


@flavor
class CountsFromOne(NarrowLedger):
    """Its backend counts steps from 1, and 0 is declared."""

    caught_by = "test_least_step_is_kept"

    def as_taken(self, line):
        return None if line[0] == "metric" and not line[3] else super().as_taken(line)


@flavor
class SaysNothingOfStepsThatItNeeds(NarrowLedger):
    """Points without a step are dropped."""

    caught_by = "test_irregular_points_are_kept"
    capabilities: ClassVar[Capabilities] = _but("needs_step")


@flavor
class NumbersAll(NarrowLedger):
    """Steps that core has given are taken for the backend's own: all of a batch have one."""

    caught_by = "test_points_without_a_step_are_numbered"

    def as_taken(self, line):
        line = super().as_taken(line)
        return line if line is None or line[0] != "metric" else (*line[:3], 0, line[4])


@flavor
class SaysNothingOfItsTimes(NarrowLedger):
    """Points have times of the backend's own, and the flavor says that they are kept."""

    caught_by = "test_timestamps_are_kept"
    capabilities: ClassVar[Capabilities] = _but("time_resolution")


@flavor
class PromisesLargeRequests(NarrowLedger):
    """A request may have half of what is declared."""

    caught_by = "test_largest_request_is_taken"
    capabilities: ClassVar[Capabilities] = _but(largest_request=24_000)


@flavor
class SaysNothingOfItsRequests(NarrowLedger):
    """A long text is refused for good."""

    caught_by = "test_long_values_are_not_cut"
    capabilities: ClassVar[Capabilities] = _but("largest_request")


@flavor
class PutsNamesIntoUrls(NarrowLedger):
    """A name of an artifact ends at its question mark."""

    caught_by = "test_names_of_artifacts_arrive"
    capabilities: ClassVar[Capabilities] = _but("artifact_pattern")


@flavor
class ForgetsThePercentSign(NarrowLedger):
    """What is escaped in a name is undone by the server."""

    caught_by = "test_names_of_artifacts_arrive"
    capabilities: ClassVar[Capabilities] = _but(artifact_pattern=r"[^?#\t]+")
