"""Does the conformance kit pass what is right, and show what is not?"""

from __future__ import annotations

import pytest

from trackyard.testing import FlavorSuite


class TestMemoryTracker(FlavorSuite):
    """The reference implementation passes every check that applies to it."""

    backend_outlives_process = False

    @pytest.fixture
    def config(self):
        return {"flavor": "trackyard.testing:MemoryTracker"}
