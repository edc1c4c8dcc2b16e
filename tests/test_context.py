"""Does each backend show of a portable run where it comes from, as its SDK alone would say it?"""

from __future__ import annotations

import getpass
import json
import os
import platform
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from all_flavors import FLAVORS, Place
from left_behind import wait_until

from trackyard import log_metric, start_run
from trackyard.journal.reader import JournalReader

NOBODY = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a"}
NOBODY |= {"GIT_COMMITTER_EMAIL": "a@b", "GIT_CONFIG_GLOBAL": "/dev/null"}
REMOTE = "https://example.com/team/code.git"


@pytest.fixture
def commit(place: Place, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the project a repository, and its folder the script's."""
    (place.root / ".gitignore").write_text("*\n!train.py\n", encoding="utf-8")
    (place.root / "train.py").write_text("", encoding="utf-8")

    def git(*arguments: str) -> str:
        command, env = ["git", *arguments], {**os.environ, **NOBODY}
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env=env
        ).stdout.strip()

    git("init", "-q", "-b", "main")
    git("add", "train.py")
    git("commit", "-q", "-m", "first")
    git("remote", "add", "origin", REMOTE.replace("//", "//me:secret@"))
    script = str(place.root / "train.py")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", script, raising=False)
    monkeypatch.setattr(sys, "argv", ["train.py", "--rate", "0.1"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "train.py", "--rate", "0.1", "--token", "abc"])
    # A process knows it once: here each test is one.
    from trackyard.tracking.collecting import collection_of

    collection_of.cache_clear()
    return git("rev-parse", "HEAD")


def tracked(place: Place, monkeypatch: pytest.MonkeyPatch, *names: str) -> str:
    """Track a run by portable calls alone, until its repository is known."""
    monkeypatch.setenv("TRACKYARD_CONTEXT", "1")
    with start_run("a", experiment_tracker=list(names)) as run:
        log_metric("loss", 1.0, step=0)
        wait_until(lambda: is_whole(run.folder))
    return run.id


def is_whole(folder: Path) -> bool:
    entries = [entry for _, entry in JournalReader(folder).read(100) if entry.kind == "context"]
    return any(entry.data.get("git", {}).get("is_dirty") is not None for entry in entries)


def test_mlflow_has_what_plain_mlflow_writes(place, commit, monkeypatch):
    import mlflow
    from mlflow.tracking.context import registry
    from mlflow.tracking.context.registry import resolve_tags

    for provider in registry._run_context_provider_registry:
        if hasattr(provider, "_cache"):  # of another repository, where this process was before
            monkeypatch.setattr(provider, "_cache", {})
    run_id = tracked(place, monkeypatch, "mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{place.root}/mlflow.db")
    (found,) = client.search_runs(
        [one.experiment_id for one in client.search_experiments()],
        f"tags.`trackyard.run_id` = '{run_id}'",
    )
    alone = {
        key: text for key, text in resolve_tags().items() if key != "mlflow.source.git.repoURL"
    }
    assert {"mlflow.user", "mlflow.source.name", "mlflow.source.git.commit"} <= set(alone)
    assert alone.items() <= found.data.tags.items()
    assert found.data.tags["mlflow.source.git.repoURL"] == REMOTE
    assert found.data.tags["mlflow.source.git.dirty"] == "false"
    assert found.info.user_id == getpass.getuser()
    assert found.data.tags["trackyard.command"] == "python train.py --rate 0.1 --token '***'"
    path = client.download_artifacts(found.info.run_id, "trackyard/requirements.txt")
    assert "attrs==" in Path(path).read_text(encoding="utf-8")


@pytest.mark.slow
def test_wandb_has_its_metadata_and_its_requirements(place, commit, monkeypatch):
    from trackyard_wandb.logfile import read_log
    from trackyard_wandb.records import parse

    run_id = tracked(place, monkeypatch, "wandb")
    path = place.file(run_id, "runs/{run}/wandb/offline-run-*/*.wandb")
    records = [parse(data) for data, _ in read_log(path)]
    found = [r.environment for r in records if r.HasField("environment")]
    environment = [one for one in found if one.writer_id == run_id][-1]  # W&B's own stands beside
    assert (environment.git.commit, environment.git.remote_url) == (commit, REMOTE)
    assert (environment.host, environment.username) == (platform.node(), getpass.getuser())
    assert (environment.program, list(environment.args)[-1]) == ("train.py", "***")
    assert environment.cpu_count > 0
    assert environment.memory.total > 10**6
    requirements = (path.parent / "files/requirements.txt").read_text(encoding="utf-8")
    assert "attrs==" in requirements
    files = [f.path for r in records if r.HasField("files") for f in r.files.files]
    assert "requirements.txt" in files


@pytest.mark.slow
def test_comet_has_system_git_and_packages(place, commit, monkeypatch):
    run_id = tracked(place, monkeypatch, "comet")
    details = place.comet.experiments[run_id].details
    assert details["parent"] == commit
    assert (details["branch"], details["origin"]) == ("main", REMOTE)
    assert (details["user"], details["hostname"]) == (getpass.getuser(), platform.node())
    assert details["filePath"] == "train.py"
    assert details["command"][-2:] == ["--token", "***"]
    assert any(package.startswith("attrs==") for package in details["installedPackages"])


@pytest.mark.slow
def test_neptune_has_entrypoint_git_and_requirements(place, commit, monkeypatch):
    run_id = tracked(place, monkeypatch, "neptune")
    (fields,) = [
        r.fields for r in place.neptune.runs.values() if r.fields["trackyard/run_id"] == run_id
    ]
    assert fields["source_code/git/commit"] == commit
    assert fields["source_code/entrypoint"] == "train.py"
    assert fields["monitoring/trackyard/hostname"] == platform.node()
    assert "attrs==" in fields["source_code/requirements"]


@pytest.mark.slow
def test_trackio_and_tensorboard_show_it(place, commit, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_id = tracked(place, monkeypatch, "trackio", "tensorboard")
    (path,) = (place.root / ".trackyard/trackio").glob("*.db")
    with closing(sqlite3.connect(path)) as connection:
        ((text,),) = connection.execute("SELECT config FROM configs WHERE run_id = ?", (run_id,))
    config = json.loads(text)
    assert config["_Username"] == getpass.getuser()
    assert config["tags"]["trackyard.git.commit"] == commit
    assert "attrs==" in config["tags"]["trackyard.packages"]
    reader = EventAccumulator(str(place.file(run_id, "tensorboard/*/*-{end}"))).Reload()
    (shown,) = reader.Tensors("tags/trackyard.git.commit")
    assert shown.tensor_proto.string_val[0].decode() == commit


@pytest.mark.slow
def test_a_tracker_that_wants_none_gets_none(place, commit, monkeypatch):
    place.configure(context=False)
    names = [name for name in FLAVORS if name != "wandb"]  # its SDK, which others import, does
    run_id = tracked(place, monkeypatch, *names)
    for path in (place.root / ".trackyard").rglob("*"):
        is_ours = path.suffix == ".tyj" or path.name.startswith(("store.db", "summary.json"))
        if path.is_file() and not is_ours:
            assert commit.encode() not in path.read_bytes(), path
    assert place.comet.experiments[run_id].details == {}
