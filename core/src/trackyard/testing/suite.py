"""What does the author of a flavor subclass, and what may a subclass change?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from trackyard.contract.records import Metric
from trackyard.testing.base import Suite
from trackyard.testing.checks.configuration import ConfigurationChecks
from trackyard.testing.checks.data import DataChecks
from trackyard.testing.checks.delivery import DeliveryChecks
from trackyard.testing.checks.faults import FaultChecks
from trackyard.testing.checks.harm import HarmChecks
from trackyard.testing.checks.hooks import HookChecks
from trackyard.testing.checks.irregular import IrregularChecks
from trackyard.testing.checks.life_cycle import LifeCycleChecks
from trackyard.testing.checks.limits import LimitChecks
from trackyard.testing.checks.packaging import PackagingChecks
from trackyard.testing.checks.programs import ProgramChecks
from trackyard.testing.checks.sources import SourceChecks
from trackyard.testing.checks.storms import StormChecks
from trackyard.testing.contract import failure_message, skip_unless_it_applies
from trackyard.testing.workbench import ReadBack, Workbench


# pytest runs the checks of the last base first.
class FlavorSuite(
    StormChecks,
    FaultChecks,
    HarmChecks,
    DeliveryChecks,
    ProgramChecks,
    SourceChecks,
    HookChecks,
    IrregularChecks,
    LimitChecks,
    DataChecks,
    LifeCycleChecks,
    ConfigurationChecks,
    PackagingChecks,
    Suite,
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
        server_url: The address of a real server that `config_for_server` can use; one that does
            not speak HTTP as `scheme://host:port` or `host:port`.
        sdk_calls: Where there is no server: the SDK's calls that write, each as `module:function`
            or `module:Class.method`.
        import_place: With `tracker_list_runs`, the place where the runs of `config` are; by default
            None, where the tracker's own configuration leads to.
        write_files: With `tracker_read_files`, a function of a path and points that adds them to
            files there, as a program does that knows nothing of Trackyard.
        native_program: With `tracker_command_variables`, the words of a command that logs the
            metric `native` with the value 2 by the SDK's own call.

    Attributes:
        expected_failures: Reasons by name of checks that the flavor cannot pass; one that passes
            all the same is a failure.
        longest_check: Seconds after which a check that has not ended fails, and says where it is.
        backend_outlives_process: Set it to False where the backend ends with its process.
    """

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

    @pytest.fixture
    def import_place(self) -> str | None:
        """Give the place whose runs are listed; None for that of the configuration."""
        return None

    @pytest.fixture
    def write_files(self) -> Callable[[Path, Sequence[Metric]], object] | None:
        """Give a function that writes points to files, as programs of others do."""
        return None

    @pytest.fixture
    def native_program(self) -> Sequence[str] | None:
        """Give the words of a command that logs by the SDK's own call."""
        return None

    @pytest.fixture
    def server_url(self) -> str | None:
        """Give the address of a real server; None where there is none."""
        return None

    @pytest.fixture
    def sdk_calls(self) -> Sequence[str]:
        """Give the SDK's calls that write, to files of its own."""
        return ()

    @pytest.fixture(autouse=True)
    def _kept_project(
        self, _project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any
    ) -> None:
        # One for all checks: an embedded store takes seconds to make.
        home = tmp_path_factory.getbasetemp() / f"home-of-{type(self).__name__}"
        monkeypatch.setenv("TRACKYARD_HOME", str(home))
        # Worker processes import the SDK anew: the checks that are about them ask for one.
        monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")

    @pytest.fixture
    def workbench(
        self,
        request: pytest.FixtureRequest,
        config: Mapping[str, Any],
        read_back: ReadBack | None,
        _project: Path,
    ) -> Workbench:
        """Give what drives the flavor, unless the check does not apply to it.

        Args:
            request: Of the check.
            config: The fixture `config`.
            read_back: The fixture `read_back`.
        """
        workbench = Workbench(
            _project,
            config,
            read_back,
            backend_outlives_process=self.backend_outlives_process,
        )
        self._expect_loaded(workbench)
        skip_unless_it_applies(request.function, workbench)
        return workbench

    @classmethod
    def _expect_loaded(cls, workbench: Workbench) -> None:
        """Fail one check where the flavor cannot be loaded, and skip the others: they say no more.

        Args:
            workbench: The flavor's.
        """
        if cls._cause:
            pytest.skip(f"no check can pass before this is mended: {cls._cause}")
        try:
            workbench.instance()
        except Exception as error:
            cls._cause = f"{type(error).__name__}: {error}"
            words = failure_message("A flavor can be loaded and made from its table.", cls._cause)
            pytest.fail(words, pytrace=False)
