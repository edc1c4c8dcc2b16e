"""A flavor that works when it is imported: it needs a second and changes the environment."""

from __future__ import annotations

import hashlib
import os

from mutants.ledger import Ledger
from trackyard.contract import flavor

os.environ["LEDGER_SDK"] = hashlib.pbkdf2_hmac("sha256", b"a", b"b", 3_000_000).hex()


@flavor
class WorksAtImport(Ledger):
    """Its module changes the environment."""

    caught_by = "test_import_does_nothing"


@flavor
class IsSlowToImport(Ledger):
    """Its module takes a second to import."""

    caught_by = "test_import_is_quick"
