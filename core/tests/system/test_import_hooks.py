"""Is something done when a module is imported, once, and only while it is wanted?"""

from __future__ import annotations

import importlib
import importlib.util
import sys

import pytest

from trackyard import after_import


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Give the name of a module that nobody has imported yet."""
    name = "imported_on_the_way"
    (tmp_path / f"{name}.py").write_text("value = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def test_the_function_is_called_when_the_module_is_there(module):
    seen = []

    with after_import(module, lambda: seen.append(sys.modules[module].value)):
        assert seen == []
        importlib.import_module(module)
        assert seen == [1]
        importlib.reload(sys.modules[module])

    assert seen == [1]


def test_nothing_is_called_after_the_block_and_nothing_is_left(module):
    seen, before = [], list(sys.meta_path)

    with after_import(module, lambda: seen.append(1)):
        pass
    importlib.import_module(module)

    assert seen == []
    assert sys.meta_path == before


def test_looking_for_the_module_does_not_import_it(module):
    seen = []

    with after_import(module, lambda: seen.append(1)):
        assert importlib.util.find_spec(module) is not None
        assert seen == []
        assert module not in sys.modules


def test_what_the_function_raises_does_not_fail_the_import(module, caplog):
    def call():
        raise ValueError("odd")

    with after_import(module, call):
        imported = importlib.import_module(module)

    assert imported.value == 1
    assert "odd" in caplog.text


def test_several_wait_for_the_same_module(module):
    seen = []

    with after_import(module, lambda: seen.append(1)), after_import(module, lambda: seen.append(2)):
        importlib.import_module(module)

    assert sorted(seen) == [1, 2]
