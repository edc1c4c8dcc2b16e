# tests/test_format.py
import math

import pytest
from company_format import Signal, SignalMaterializer

from trackyard.testing import MaterializerSuite


class TestSignal(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return SignalMaterializer()

    @pytest.fixture
    def values(self):
        empty = Signal("", "", ())
        odd = Signal("Zoë\n", "µV", (math.nan, -0.0, math.inf, 5e-324))
        return [empty, odd, Signal("large", "V", tuple(n / 7 for n in range(100_000)))]
