"""Does the suite pass a correct flavor, and catch each of its mutants at the right check?

Every mutant is the correct flavor with one realistic fault, and names the check that proves the
sentence which it breaks.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import random
import warnings

import mutants
import pytest
from matrices import first_by_default
from mutants import ledger, sdk
from mutants.ledger import Ledger
from mutants.remote import LedgerServer, RemoteLedger
from mutants.wire import WireLedger, WireServer

from trackyard.testing import FlavorSuite
from trackyard.testing.checks import faults
from trackyard.testing.contract import checks_of
from trackyard.testing.process_state import process_state, restore
from trackyard.testing.running import run_file

FILE = '''"""One mutant."""

import pytest
from mutants import sdk, sources
from mutants.ledger import log_natively

from trackyard.testing import FlavorSuite


class TestMutant(FlavorSuite):
    @pytest.fixture
    def config(self, tmp_path):
        return {{"flavor": "{reference}", "directory": str(tmp_path / "ledger")}}

    @pytest.fixture
    def config_for_server(self, config):
        return lambda url: {{**config, "server": url}}

    @pytest.fixture
    def log_natively(self):
        return log_natively

    @pytest.fixture
    def write_files(self):
        return sources.write_files

    @pytest.fixture
    def native_program(self):
        return sources.PROGRAM

    @pytest.fixture
    def sdk_calls(self):
        return sdk.CALLS
'''


REMOTE = FILE.replace(
    """    def config(self, tmp_path):
        return {{"flavor": "{reference}", "directory": str(tmp_path / "ledger")}}
""",
    """    def server_url(self):
        with {server}() as server:
            yield server.url

    @pytest.fixture
    def config(self, tmp_path, server_url):
        fields = {{"directory": str(tmp_path / "ledger"), "server": server_url}}
        return {{"flavor": "{reference}", **fields}}
""",
).replace("import log_natively\n", "import log_natively\nfrom {module} import {server}\n")

# Correct flavors, and what is imported by the suite alone.
APART = (
    "ledger",
    "counting",
    "narrow",
    "remote",
    "sdk",
    "sources",
    "wire",
    "works_at_import",
    "imports_sdk_at_top",
)


def _modules():
    return [
        importlib.import_module(f"mutants.{info.name}")
        for info in pkgutil.iter_modules(mutants.__path__)
        if info.name not in (*APART, "of_orchestrators", "of_materializers", "of_plugins")
    ]


# These are imported by the suite alone: what they do at import is their fault.
MUTANTS = {
    "mutants.imports_sdk_at_top:ImportsItsSdk": "test_import_loads_no_sdk",
    "mutants.works_at_import:WorksAtImport": "test_import_does_nothing",
    "mutants.works_at_import:IsSlowToImport": "test_import_is_quick",
}
MUTANTS |= {
    f"{module.__name__}:{name}": value.caught_by
    for module in _modules()
    for name, value in vars(module).items()
    if inspect.isclass(value)
    and value.__module__ == module.__name__
    and hasattr(value, "caught_by")
}


class TestLedger(FlavorSuite):
    """The correct twin passes every check."""

    @pytest.fixture
    def config(self, tmp_path):
        return {"flavor": "mutants.ledger:Ledger", "directory": str(tmp_path / "ledger")}

    @pytest.fixture
    def config_for_server(self, config):
        return lambda url: {**config, "server": url}

    @pytest.fixture
    def log_natively(self):
        return ledger.log_natively


@pytest.mark.slow
class TestCursorLedger(TestLedger):
    """So does the one whose backend keeps a cursor, and cannot hold NaN."""

    @pytest.fixture
    def config(self, tmp_path):
        return {"flavor": "mutants.counting:CursorLedger", "directory": str(tmp_path / "ledger")}


class TestRemoteLedger(FlavorSuite):
    """So does the one on a server, by whichever request that fails."""

    backend_outlives_process = False

    @pytest.fixture
    def server_url(self):
        with LedgerServer() as server:
            yield server.url

    @pytest.fixture
    def config(self, tmp_path, server_url):
        fields = {"directory": str(tmp_path / "ledger"), "server": server_url}
        return {"flavor": "mutants.remote:RemoteLedger", **fields}

    @pytest.fixture
    def config_for_server(self, config):
        return lambda url: {**config, "server": url}


@pytest.mark.slow
class TestWireLedger(FlavorSuite):
    """So does the one on a server that does not speak HTTP."""

    backend_outlives_process = False

    @pytest.fixture
    def server_url(self):
        with WireServer() as server:
            yield server.url

    @pytest.fixture
    def config(self, tmp_path, server_url):
        fields = {"directory": str(tmp_path / "ledger"), "server": server_url}
        return {"flavor": "mutants.wire:WireLedger", **fields}

    @pytest.fixture
    def config_for_server(self, config):
        return lambda url: {**config, "server": url}


@pytest.mark.slow
class TestSdkLedger(TestLedger):
    """So does the one on an SDK without a server, whose calls fail."""

    @pytest.fixture
    def config(self, tmp_path):
        return {"flavor": "mutants.sdk:SdkLedger", "directory": str(tmp_path / "ledger")}

    @pytest.fixture
    def sdk_calls(self):
        return sdk.CALLS


@pytest.mark.slow
class TestRebuiltLedger(TestLedger):
    """So does the one whose runs are sent again from their first record."""

    @pytest.fixture
    def config(self, tmp_path):
        return {"flavor": "mutants.counting:RebuiltLedger", "directory": str(tmp_path / "ledger")}


@pytest.mark.slow
class TestNarrowLedger(TestLedger):
    """So does the one whose backend refuses much, and says so."""

    @pytest.fixture
    def config(self, tmp_path):
        return {"flavor": "mutants.narrow:NarrowLedger", "directory": str(tmp_path / "ledger")}

    @pytest.fixture
    def log_natively(self):
        """Give none: the ledger's own SDK gives no steps, which this backend needs."""


@pytest.mark.slow
def test_twin_of_what_reads_runs_and_files_of_others_passes(tmp_path):
    checks = sorted({value for name, value in MUTANTS.items() if ".of_sources:" in name})
    file = tmp_path / "test_twin.py"
    text = FILE.format(reference="mutants.sources:SourceLedger")
    file.write_text(text, encoding="utf-8")

    results = run_file(file, checks)

    assert [result for result in results if result.outcome != "passed"] == []


def test_there_are_mutants_of_many_checks():
    assert len(MUTANTS) >= 270
    assert len(set(MUTANTS.values())) >= 50
    assert set(MUTANTS.values()) <= set(checks_of(FlavorSuite))


# The check whose mutants need a server; each names the requests that show its fault.
BY_REQUESTS = (
    "test_storm_loses_and_doubles_nothing",
    "test_server_that_goes_away_is_not_waited_for",
    "test_redirect_takes_no_secret_along",
    "test_what_is_refused_does_not_wait_for_ever",
    "test_retry_after_is_passed_on",
    "test_request_that_is_too_large_is_named_so",
)


@pytest.fixture
def process_given_back():
    """Undo what a mutant does to the process: tests behind it live there, too."""
    state = process_state()
    with warnings.catch_warnings():
        yield
    restore(state)


# By default one in 32 of them, the same ones each time.
SHUFFLED = random.Random(0).sample(sorted(MUTANTS), len(MUTANTS))


@pytest.mark.parametrize(
    "reference",
    first_by_default(SHUFFLED, len(SHUFFLED) // 32),
    ids=lambda name: name.partition(":")[2],
)
@pytest.mark.usefixtures("process_given_back")
def test_mutant_is_caught_at_the_check_that_names_its_fault(reference, tmp_path, monkeypatch):
    monkeypatch.setattr(faults, "DEADLINE", 1.0)
    monkeypatch.setattr(faults, "GRACE", 2.0)
    monkeypatch.setattr(faults, "START_BUDGET", 0.5)
    check = MUTANTS[reference]
    file = tmp_path / "test_mutant.py"
    module, _, name = reference.partition(":")
    loaded = getattr(importlib.import_module(module), name) if check in BY_REQUESTS else Ledger
    is_remote = issubclass(loaded, RemoteLedger)
    server = WireServer if issubclass(loaded, WireLedger) else LedgerServer
    text = (REMOTE if is_remote else FILE).format(
        reference=reference, module=server.__module__, server=server.__name__
    )
    file.write_text(text, encoding="utf-8")

    results = run_file(file, [f"({check} and {loaded.where})" if is_remote else check])

    failed = [result for result in results if result.outcome == "failed"]
    assert failed, results
    for result in failed:
        assert result.check.partition("[")[0] == check
        assert result.sentence == checks_of(FlavorSuite)[check]
        assert result.reason
