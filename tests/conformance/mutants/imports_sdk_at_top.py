"""A flavor that imports its SDK when it is listed."""

from __future__ import annotations

import numpy

from mutants.ledger import Ledger
from trackyard.contract import flavor


@flavor
class ImportsItsSdk(Ledger):
    """The SDK is imported at the top of the module."""

    caught_by = "test_import_loads_no_sdk"

    sdk = numpy
