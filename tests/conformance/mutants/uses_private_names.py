"""A flavor that uses what may change at any time."""

from __future__ import annotations

from mutants.ledger import Ledger
from trackyard.contract import flavor
from trackyard.delivery.state import load_state


@flavor
class UsesPrivateNames(Ledger):
    """It looks into core's own files."""

    caught_by = "test_public_names_alone_are_imported"

    load_state = staticmethod(load_state)
