"""Does a flavor leave the process, the machine and its secrets alone, and keep what it took?"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from trackyard.contract.records import Artifact, Batch, Metric, Param, Tag
from trackyard.project.configuration import in_project
from trackyard.testing.contract import check, expect
from trackyard.testing.driving import processes_below
from trackyard.testing.faulty_proxy import FaultyProxy
from trackyard.testing.faulty_rules import Fault as Answer
from trackyard.testing.process_state import noted_at_exit, open_descriptors, sizes_of_globals
from trackyard.testing.requirements import can_be_read, declares, outlives_its_process
from trackyard.testing.secrets import forms_of, secrets_of, secrets_set
from trackyard.testing.servers import curious_server, speaks_http
from trackyard.testing.workbench import Workbench
from trackyard.tracking.calls import ActiveRun

# Runs that are tracked to see whether something grows with each.
_SEVERAL = 4
# Seconds for each hook where every request is answered wrongly.
_SHORT = 3.0
# A shorter text may stand anywhere by chance.
_LEAST_SECRET = 8
# What is core's own, and caches, which are there to be deleted.
_OTHERS = (".config/trackyard/", ".cache/", "Library/Caches/")
ServerConfig = Callable[[str], Mapping[str, Any]] | None


class HarmChecks:
    """What a run leaves behind, and what is left of it where its process is killed."""

    @check("Each run closes what it opens: descriptors.")
    def test_descriptors_are_closed(self, workbench: Workbench) -> None:
        if open_descriptors() is None:
            pytest.skip("this system does not tell which descriptors are open")
        for _ in range(2):  # the first makes what is made once
            _run(workbench)
        before = open_descriptors() or 0
        for _ in range(_SEVERAL):
            _run(workbench)
        grown = (open_descriptors() or 0) - before
        expect(grown < _SEVERAL, f"{_SEVERAL} runs leave {grown} descriptors open")

    @check("Each run ends what it starts: threads, processes, what is called at the exit.")
    def test_threads_are_ended(self, workbench: Workbench) -> None:
        _run(workbench)
        before = set(threading.enumerate())
        processes = processes_below(os.getpid())
        with noted_at_exit() as at_exit:
            for _ in range(_SEVERAL):
                _run(workbench)
        new = [thread for thread in threading.enumerate() if thread not in before]
        left = [thread.name for thread in new if not thread.daemon]
        expect(not left, f"these threads keep the interpreter alive: {', '.join(left)}")
        names = ", ".join(thread.name for thread in new)
        expect(len(new) < _SEVERAL, f"{_SEVERAL} runs leave {len(new)} threads: {names}")
        named = ", ".join(sorted({repr(function) for function in at_exit}))
        seen = f"{_SEVERAL} runs leave {len(at_exit)} functions to be called at the exit: {named}"
        expect(len(at_exit) < _SEVERAL, seen)
        others = {k: v for k, v in processes_below(os.getpid()).items() if k not in processes}
        names = ", ".join(others.values())
        expect(len(others) < _SEVERAL, f"{_SEVERAL} runs leave {len(others)} processes: {names}")
        # What is left once for all runs was there before the first one of this process.
        done = workbench.child("log")
        expect(done.returncode == 0, done.stderr.strip()[-300:])

    @check("One instance serves one run: nothing of it stays in the module's globals.")
    def test_globals_do_not_grow(self, workbench: Workbench) -> None:
        package = workbench.flavor.__module__
        package = package.partition(".")[0] if workbench.distribution else package
        for _ in range(2):
            _run(workbench)
        before = sizes_of_globals(package)
        for _ in range(_SEVERAL):
            _run(workbench)
        after = sizes_of_globals(package)
        grown = [name for name, size in after.items() if size - before.get(name, 0) >= _SEVERAL]
        expect(not grown, f"with each run something is added to {', '.join(grown)}")

    @check("run.folder: SDK files go there, and not into home or temporary folders.")
    def test_home_and_temporary_folders_stay_clean(
        self, workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folders = {"HOME": tmp_path / "home", "TMPDIR": tmp_path / "temporary"}
        for variable, folder in folders.items():
            folder.mkdir()
            monkeypatch.setenv(variable, str(folder))
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            monkeypatch.delenv(name, raising=False)
        done = workbench.child("log")
        expect(done.returncode == 0, f"exit code {done.returncode}: {done.stderr.strip()[-300:]}")
        for variable, folder in folders.items():
            found = [p for p in folder.rglob("*") if p.is_file() or _is_left(p, variable)]
            left = [path.relative_to(folder).as_posix() for path in found]
            left = [name for name in left if not name.startswith(_OTHERS)]
            expect(not left, f"a run leaves in {variable}: {', '.join(sorted(left)[:5])}")

    @check("Secrets stay secret: not on stdout or stderr, in no log, in no file of the run.")
    def test_secrets_are_shown_nowhere(
        self,
        workbench: Workbench,
        capfd: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with secrets_set(workbench) as made:
            secrets = {**secrets_of(workbench.instance()), **made}
            secrets = {k: v for k, v in secrets.items() if len(v) >= _LEAST_SECRET}
            if not secrets:
                pytest.skip("the flavor has no secrets")
            workbench.configure_again(start_timeout=2.0, flush_timeout=2.0)
            variables = dict(os.environ)
            with workbench.track() as run:
                run.log_metric("loss", 1)
            shown = capfd.readouterr()
            texts = {"stdout": shown.out, "stderr": shown.err, "a log": caplog.text}
            folder = workbench.pending(run.id).folder
            texts["the URL"] = run.url or ""
            # Whatever the program starts afterwards inherits them.
            left = {k: v for k, v in os.environ.items() if variables.get(k) != v}
            texts |= {f"the variable {key}": value for key, value in left.items()}
        files = [path for path in folder.rglob("*") if path.is_file()]
        found = {place: text.encode() for place, text in texts.items()}
        found |= {str(path.relative_to(folder)): path.read_bytes() for path in files}
        for name, value in secrets.items():
            for place, content in found.items():
                expect(value.encode() not in content, f"the secret {name} stands in {place}")
                is_encoded = any(form in content for form in forms_of(value))
                expect(not is_encoded, f"the secret {name} stands in {place}, in base 64")

    @check("Secrets go to the server of the configuration, and to no other one: a redirect leads "
           "elsewhere.")  # fmt: skip
    def test_redirect_takes_no_secret_along(
        self, workbench: Workbench, server_url: str | None, config_for_server: ServerConfig
    ) -> None:
        if server_url is None or config_for_server is None or not speaks_http(server_url):
            pytest.skip("the suite has no fixtures server_url and config_for_server, of HTTP")
        with curious_server() as (elsewhere, heard), FaultyProxy(server_url) as proxy:
            away = Answer(status=302, headers={"Location": f"{elsewhere}/login"})
            table = dict(config_for_server(proxy.url))
            with secrets_set(workbench, table) as made:  # which the server need not know
                secrets = {**secrets_of(workbench.instance()), **made}
                proxy.fault(away)
                _call_all(workbench)
            proxy.mend()
            workbench.configure(**table)
            secrets |= {f"{k} of config": v for k, v in secrets_of(workbench.instance()).items()}
            _call_all(workbench, lambda: proxy.fault(away))
        secrets = {k: v for k, v in secrets.items() if len(v) >= _LEAST_SECRET}
        if not secrets:
            pytest.skip("the flavor has no secrets")
        said = b"\n".join(heard)
        for name, value in secrets.items():
            is_there = any(form in said for form in (value.encode(), *forms_of(value)))
            expect(not is_there, f"where the server redirects, the secret {name} goes elsewhere")

    @check("The value of a secret is read where it is sent, and kept in no attribute.")
    def test_secrets_are_kept_in_no_attribute(self, workbench: Workbench) -> None:
        with secrets_set(workbench):
            workbench.configure_again()
            run, hooks = workbench.new_run(), workbench.tracker_hooks()
            with in_project(workbench.project):
                hooks.start_run(run)
                hooks.log(run, Batch.of((Metric("loss", 0.5, 1, 10**18),), 1, 1))
                hooks.end_run(run)
            values = {k: v for k, v in secrets_of(hooks.tracker).items() if len(v) >= _LEAST_SECRET}
        if not values:
            pytest.skip("the flavor has no secrets")
        fields = {field.name for field in attrs.fields(workbench.flavor)}
        for name in fields | {*getattr(hooks.tracker, "__dict__", {})}:
            kept = _texts(getattr(hooks.tracker, name, None))
            for secret, value in values.items():
                seen = f"the value of the secret {secret} stands in the attribute {name}"
                expect(not any(value in text for text in kept), seen)

    @check(
        "acknowledges batch: what tracker_log returned from is durable: another process reads it, "
        "and so it is after kill -9.",
        declares("acknowledges", "batch"),
        can_be_read,
        outlives_its_process,
    )
    def test_acknowledged_batch_is_durable(self, workbench: Workbench) -> None:
        run = workbench.new_run()
        attached = attrs.evolve(run, attached=True)
        with workbench.talking_child("acknowledged", run.id, str(run.folder)) as child:
            for moment in ("while the process lives", "after kill -9"):
                records = workbench.read_now(attached).records
                kinds = {type(r) for r in records if _is_sent(r)}
                missing = [k.__name__ for k in (Metric, Param, Tag, Artifact) if k not in kinds]
                expect(
                    not missing,
                    f"of a batch that tracker_log returned from, {moment} the backend has no "
                    + " and no ".join(missing),
                )
                child.kill()
                child.wait()


def _call_all(workbench: Workbench, begun: Callable[[], object] = bool) -> None:
    """Call the hooks of a run's life, whatever comes of them.

    Args:
        workbench: The flavor's.
        begun: Called when the run has started.
    """
    run, hooks = workbench.new_run(deadline=_SHORT), workbench.tracker_hooks()
    with in_project(workbench.project):
        hooks.start_run(run)
        begun()
        hooks.log(run, Batch.of((Metric("loss", 0.5, 1, 10**18),), 1, 1))
        hooks.end_run(run)


def _texts(value: object, depth: int = 3) -> list[str]:
    """Give the texts in a value and in the containers that it is."""
    if isinstance(value, str | bytes):
        return [value if isinstance(value, str) else value.decode(errors="replace")]
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if not depth or not isinstance(value, list | tuple | set | frozenset):
        return []
    return [text for part in value for text in _texts(part, depth - 1)]


def _is_left(path: Path, variable: str) -> bool:
    """Tell an empty folder among temporary ones: somebody made it and does not delete it."""
    return variable == "TMPDIR" and path.is_dir() and not any(path.iterdir())


def _is_sent(record: Any) -> bool:
    """Tell the records of the scenario from what the flavor adds."""
    return getattr(record, "key", getattr(record, "name", "")) in ("loss", "rate", "stage", "a.txt")


def _run(workbench: Workbench) -> None:
    def log(run: ActiveRun) -> None:
        run.log_metric("loss", 1)
        run.log_text("the report", "notes/report.txt")

    workbench.log(log)
