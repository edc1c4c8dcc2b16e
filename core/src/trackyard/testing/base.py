"""What have the suites in common: what may a subclass change, and how is a failure declared?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from trackyard.testing.contract import check, checks_of, expect

_BACKGROUND = ("TRACKYARD_CONTEXT", "TRACKYARD_WATCHDOG", "TRACKYARD_PROGRESS")
_GUARD = "test_no_check_is_overridden_or_deleted"


class Suite:
    """Checks that a plugin keeps its contract; one class for each kind of plugin.

    Attributes:
        expected_failures: Reasons by name of checks that the plugin cannot pass; one that passes
            all the same is a failure.
        longest_check: Seconds after which a check that has not ended fails, and says where it
            stands: what does not return holds up no suite.
    """

    longest_check: ClassVar[float] = 600.0
    expected_failures: ClassVar[Mapping[str, str]] = {}
    # Why no check can pass; the first that sees it says so, and the others are skipped.
    _cause: ClassVar[str] = ""

    @pytest.fixture(autouse=True)
    def _declared(self, request: pytest.FixtureRequest) -> None:
        """Turn a declared failure into a strict expected failure."""
        name = request.node.originalname
        reason = self.expected_failures.get(name)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture(autouse=True)
    def _project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Make a project of its own the working directory of each check."""
        for name in [name for name in os.environ if name.startswith("TRACKYARD_")]:
            if name != "TRACKYARD_DISABLE_PLUGINS":
                monkeypatch.delenv(name)
        for name in _BACKGROUND:
            monkeypatch.setenv(name, "0")
        root = tmp_path / "project"
        root.mkdir()
        monkeypatch.syspath_prepend(Path.cwd())  # a dotted path may name a module beside the tests
        monkeypatch.chdir(root)
        monkeypatch.syspath_prepend(root)
        return root

    @check("No check of the suite is overridden or deleted; what cannot pass is declared.")
    def test_no_check_is_overridden_or_deleted(self) -> None:
        """Declare it in `expected_failures`, with the reason, instead."""
        known = checks_of(_suite_of(type(self)))
        changed = [name for name in known if _is_changed(type(self), name)]
        expect(not changed, f"{type(self).__name__} changes {', '.join(changed)}")
        unknown = set(self.expected_failures) - set(known)
        expect(not unknown, f"expected_failures names no checks: {', '.join(sorted(unknown))}")
        empty = [name for name, reason in self.expected_failures.items() if not reason.strip()]
        expect(not empty, f"expected_failures gives no reason for {', '.join(empty)}")

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if _is_changed(cls, _GUARD):
            raise TypeError(f"{cls.__name__} must not change {_GUARD}")


def _suite_of(cls: type) -> type:
    """Give the suite that a class in an author's tests is of."""
    package = __name__.rpartition(".")[0]
    return next(base for base in cls.__mro__ if base.__module__.startswith(f"{package}."))


def _is_changed(cls: type, name: str) -> bool:
    return getattr(cls, name, None) is not getattr(_suite_of(cls), name)
