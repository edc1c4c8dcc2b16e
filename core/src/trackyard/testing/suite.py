"""What does the author of a flavor subclass, and what may a subclass change?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from trackyard.testing.checks.configuration import ConfigurationChecks
from trackyard.testing.checks.data import DataChecks
from trackyard.testing.checks.delivery import DeliveryChecks
from trackyard.testing.checks.faults import FaultChecks
from trackyard.testing.checks.life_cycle import LifeCycleChecks
from trackyard.testing.checks.packaging import PackagingChecks
from trackyard.testing.contract import check, check_of, expect
from trackyard.testing.workbench import ReadBack, Workbench

_BACKGROUND = ("TRACKYARD_WATCHDOG", "TRACKYARD_PROGRESS")


# pytest runs the checks of the last base first.
class FlavorSuite(
    FaultChecks, DeliveryChecks, DataChecks, LifeCycleChecks, ConfigurationChecks, PackagingChecks
):
    """Checks that a flavor keeps the contract. Subclass it, and pytest runs them all.

    Fixtures of the subclass:
        config: The tracker's table, as in `[experiment_trackers.NAME]`: a dict with `flavor` and
            the flavor's fields, for a backend that no one else uses.
        read_back: A function that gives the records which the backend holds of a run; only where
            the flavor has no `tracker_read_run`.
        log_natively: A function of key and value that logs a metric by the SDK's own call; where
            the flavor has `tracker_activate_run`.
        config_for_server: A function that gives the table for a server's address; where the
            flavor talks to one.

    Attributes:
        expected_failures: Reasons by name of checks that the flavor cannot pass; one that passes
            all the same is a failure.
        backend_outlives_process: Set it to False where the backend ends with its process.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {}
    backend_outlives_process: ClassVar[bool] = True

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        """Give the tracker's table. Every subclass has its own."""
        name = type(self).__name__
        raise NotImplementedError(
            f"{name} needs a fixture `config` that gives the tracker's table, such as "
            '{"flavor": "csv", "directory": str(tmp_path)}'
        )

    @pytest.fixture
    def read_back(self) -> ReadBack | None:
        """Give a function that reads a run from the backend; None leaves it to the flavor."""
        return None

    @pytest.fixture
    def log_natively(self) -> Callable[[str, float], object] | None:
        """Give a function that logs by the SDK's own call."""
        return None

    @pytest.fixture
    def config_for_server(self) -> Callable[[str], Mapping[str, Any]] | None:
        """Give a function from a server's address to the tracker's table."""
        return None

    @pytest.fixture(autouse=True)
    def _declared(self, request: pytest.FixtureRequest) -> None:
        """Turn a declared failure into a strict expected failure."""
        name = request.node.originalname
        reason = self.expected_failures.get(name)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture(autouse=True)
    def _project(
        self,
        tmp_path: Path,
        tmp_path_factory: pytest.TempPathFactory,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Path:
        """Make a project of its own the working directory of each check."""
        for name in [name for name in os.environ if name.startswith("TRACKYARD_")]:
            if name != "TRACKYARD_DISABLE_PLUGINS":
                monkeypatch.delenv(name)
        for name in _BACKGROUND:
            monkeypatch.setenv(name, "0")
        # One for all checks: an embedded store takes seconds to make.
        home = tmp_path_factory.getbasetemp() / f"home-of-{type(self).__name__}"
        monkeypatch.setenv("TRACKYARD_HOME", str(home))
        # Worker processes import the SDK anew: the checks that are about them ask for one.
        monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")
        root = tmp_path / "project"
        root.mkdir()
        monkeypatch.syspath_prepend(Path.cwd())  # a dotted path may name a module beside the tests
        monkeypatch.chdir(root)
        monkeypatch.syspath_prepend(root)
        return root

    @pytest.fixture
    def workbench(
        self,
        request: pytest.FixtureRequest,
        config: Mapping[str, Any],
        read_back: ReadBack | None,
        _project: Path,
    ) -> Workbench:
        """Give what drives the flavor, unless the check does not apply to it."""
        workbench = Workbench(
            _project,
            config,
            read_back,
            backend_outlives_process=self.backend_outlives_process,
        )
        found = check_of(request.function)
        for requirement in found.requirements if found else ():
            reason = requirement(workbench)
            if reason is not None:
                pytest.skip(reason)
        return workbench

    @check("No check of the suite is overridden or deleted; what cannot pass is declared.")
    def test_no_check_is_overridden_or_deleted(self) -> None:
        """Declare it in `expected_failures`, with the reason, instead."""
        changed = [name for name in checks_of(FlavorSuite) if _is_changed(type(self), name)]
        expect(not changed, f"{type(self).__name__} changes {', '.join(changed)}")
        unknown = set(self.expected_failures) - set(checks_of(FlavorSuite))
        expect(not unknown, f"expected_failures names no checks: {', '.join(sorted(unknown))}")
        empty = [name for name, reason in self.expected_failures.items() if not reason.strip()]
        expect(not empty, f"expected_failures gives no reason for {', '.join(empty)}")

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        guard = "test_no_check_is_overridden_or_deleted"
        if _is_changed(cls, guard):
            raise TypeError(f"{cls.__name__} must not change {guard}")


def checks_of(suite: type) -> dict[str, str]:
    """Give the sentence that each check of a suite proves, by the check's name."""
    found = {name: check_of(getattr(suite, name, None)) for name in dir(suite)}
    return {name: known.sentence for name, known in found.items() if known is not None}


def _is_changed(suite: type, name: str) -> bool:
    return getattr(suite, name, None) is not getattr(FlavorSuite, name)
