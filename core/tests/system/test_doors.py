"""Does a package that reads its stub by itself find what Python finds in it?"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import trackyard
from trackyard.system.doors import _homes

STUBS = sorted(Path(trackyard.__file__).parent.rglob("__init__.pyi"))


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.parent.name)
def test_names_of_a_stub_are_found_where_it_says(stub):
    parts = stub.parent.relative_to(Path(trackyard.__file__).parents[1]).parts
    package = importlib.import_module(".".join(parts))
    imports = [node for node in ast.parse(stub.read_text()).body if hasattr(node, "module")]

    found = {name.asname: node.module for node in imports for name in node.names if name.asname}
    assert _homes(package) == found != {}
