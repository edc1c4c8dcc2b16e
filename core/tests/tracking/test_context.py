"""Where a run comes from: what is collected, what runs for it, and when it arrives."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from left_behind import wait_until
from recorder import Recorder

from trackyard import start_run, tracked_step
from trackyard.contract import Context, Git
from trackyard.contract.errors import ConfigError
from trackyard.journal.entries import Entry
from trackyard.journal.reader import JournalReader
from trackyard.journal.writer import JournalWriter
from trackyard.project.configuration import find_project
from trackyard.redaction.redactor import Redactor
from trackyard.runs.doctor import examine
from trackyard.tracking import context_helper, repository
from trackyard.tracking.context import context_at_once, load_context_options, redacted_command

ALL = frozenset({"user", "host", "command", "git", "packages", "hardware", "job"})
NOBODY = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a"}
NOBODY |= {"GIT_COMMITTER_EMAIL": "a@b", "GIT_CONFIG_GLOBAL": "/dev/null"}


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, **NOBODY}
    )
    return done.stdout.strip()


@pytest.fixture
def commit(tmp_path, monkeypatch):
    """Make the working directory a repository with one commit."""
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "train.py").write_text("loss = 1\n", encoding="utf-8")
    git(tmp_path, "add", "train.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    git(tmp_path, "remote", "add", "origin", "https://me:secret@example.com/team/code.git?token=x")
    return git(tmp_path, "rev-parse", "HEAD")


def found_in(folder: Path, *collect: str) -> dict:
    question = {"collect": collect, "path": sys.path, "folders": [str(folder)]}
    found: dict = {}
    for more in context_helper.answers(question):
        found |= more
    return found


def contexts_of(folder: Path) -> list[Context]:
    entries = JournalReader(folder).read(1000)
    return [entry.records()[0] for _, entry in entries if entry.kind == "context"]


def test_a_repository_says_commit_branch_remote_and_whether_it_is_dirty(tmp_path, commit):
    clean = found_in(tmp_path, "git")["git"]
    (tmp_path / "train.py").write_text("loss = 2\n", encoding="utf-8")
    dirty = found_in(tmp_path, "git", "diff")
    known = {"commit": commit, "branch": "main", "remote": "https://example.com/team/code.git"}
    assert clean == {**known, "is_dirty": False}
    assert dirty["git"] == {**known, "is_dirty": True}
    assert "-loss = 1\n+loss = 2" in dirty["diff"]


def test_packed_references_worktrees_and_detached_heads_are_read(tmp_path, commit):
    git(tmp_path, "pack-refs", "--all")
    git(tmp_path, "worktree", "add", "-q", "-b", "other", str(tmp_path / "tree"))
    assert found_in(tmp_path, "git")["git"]["commit"] == commit
    other = found_in(tmp_path / "tree", "git")["git"]
    assert (other["commit"], other["branch"], other["is_dirty"]) == (commit, "other", False)
    git(tmp_path, "checkout", "-q", "--detach")
    assert "branch" not in found_in(tmp_path, "git")["git"]


def test_nothing_that_a_repository_configures_is_run(tmp_path, commit, monkeypatch):
    mark, hook = tmp_path.parent / "ran", tmp_path / ".git" / "hooks" / "post-index-change"
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\necho $0 $* >> {mark}\ncat\n", encoding="utf-8")
    trap.chmod(0o755)
    hook.parent.mkdir(exist_ok=True)
    hook.symlink_to(trap)
    for key in (
        *("core.fsmonitor", "core.pager", "pager.status", "pager.diff", "diff.external"),
        *("filter.x.clean", "filter.x.smudge", "filter.x.process", "diff.x.textconv"),
        *("diff.x.command", "core.sshCommand", "core.editor", "gpg.program", "alias.status"),
    ):
        git(tmp_path, "config", key, str(trap))
    (tmp_path / ".git" / "info").mkdir(exist_ok=True)
    for attributes in (tmp_path / ".gitattributes", tmp_path / ".git" / "info" / "attributes"):
        attributes.write_text("* filter=x diff=x\n", encoding="utf-8")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(trap))
    monkeypatch.setenv("GIT_SSH_COMMAND", str(trap))
    (tmp_path / "train.py").write_text("loss = 3\n", encoding="utf-8")
    index = (tmp_path / ".git" / "index").read_bytes()
    found = found_in(tmp_path, "git", "diff")
    assert found["git"]["is_dirty"] is True
    assert "+loss = 3" in found["diff"]
    assert (tmp_path / ".git" / "index").read_bytes() == index
    assert not mark.exists(), mark.read_text(encoding="utf-8")


def test_without_git_the_commit_is_known_and_whether_it_is_dirty_is_not(
    tmp_path, commit, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    found = found_in(tmp_path, "git")["git"]
    assert found["commit"] == commit
    assert "is_dirty" not in found


def test_a_program_that_takes_too_long_is_ended(tmp_path):
    begun = time.monotonic()
    assert repository.output_of(["sleep", "60"], 0.2, 10) is None
    assert repository.output_of(["yes"], 60, 10) == b"y\ny\ny\ny\ny\n"
    assert time.monotonic() - begun < 30


def test_without_a_repository_ci_names_the_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("CI_COMMIT_SHA", "ab" * 20)
    monkeypatch.setenv("CI_PROJECT_URL", "https://t:oken@gitlab.example/x")
    for name in ("GITHUB_SHA", "CI_COMMIT_REF_NAME"):
        monkeypatch.delenv(name, raising=False)
    found = found_in(tmp_path, "git")
    assert found == {"git": {"commit": "ab" * 20, "remote": "https://gitlab.example/x"}}
    monkeypatch.delenv("CI_COMMIT_SHA")
    assert found_in(tmp_path, "git") == {}


@pytest.mark.parametrize(
    ("url", "cleaned"),
    [
        ("git@example.com:team/code.git", "git@example.com:team/code.git"),
        ("ssh://git@example.com/code.git", "ssh://git@example.com/code.git"),
        ("https://oauth2:ghp_abc@example.com/code", "https://example.com/code"),
        ("https://ghp_abc@example.com/code#x", "https://example.com/code"),
        ("user:pass@example.com:code", "example.com:code"),
        ("/srv/code.git", "/srv/code.git"),
    ],
)
def test_a_remote_has_no_credentials(url, cleaned):
    assert repository.without_credentials(url) == cleaned


def test_packages_are_those_of_the_path():
    packages = found_in(Path("/"), "packages")["packages"]
    assert packages["attrs"].count(".") >= 1
    assert list(packages) == sorted(packages)


def test_a_command_is_redacted_argument_by_argument():
    command = ["train.py", "--token", "abc", "--db.password=x", "lr=0.1", "+api_key=y", "s3cret-12"]
    shown = redacted_command(command, Redactor(["s3cret-12"]))
    assert shown == (
        *("train.py", "--token", "***", "--db.password=***", "lr=0.1", "+api_key=***", "***"),
    )
    assert redacted_command(["a"] * 1000, Redactor())[-1] == "… and 800 more"
    assert len(redacted_command(["a" * 5000], Redactor())[0]) == 1001


def test_a_job_of_slurm_kubernetes_and_ci_is_named(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("HOSTNAME", "pod-1")
    monkeypatch.setenv("GITHUB_RUN_ID", "42")
    job = context_at_once(ALL, Redactor()).job
    known = {"slurm.job_id": "7", "kubernetes.pod": "pod-1", "github.run_id": "42"}
    assert known.items() <= job.items()


def test_only_what_is_asked_for_is_collected(monkeypatch):
    assert context_at_once(frozenset(), Redactor()) == Context()
    assert context_at_once(frozenset({"user"}), Redactor()).host is None
    monkeypatch.setenv("TRACKYARD_CONTEXT", "user, git")
    assert load_context_options(find_project()).parts == {"user", "git"}
    monkeypatch.setenv("TRACKYARD_CONTEXT", "usr")
    with pytest.raises(ConfigError, match="'usr' is none of user, host"):
        load_context_options(find_project())


def test_what_is_configured_is_checked(project, monkeypatch):
    monkeypatch.delenv("TRACKYARD_CONTEXT")
    project.configure("[context]\ncollect = false\n")
    assert load_context_options(find_project()).parts == frozenset()
    project.configure('[context]\ncollect = ["host", "diff"]\n')
    assert load_context_options(find_project()).parts == {"host", "diff"}
    project.configure("[context]\ncollect = 3\n")
    with pytest.raises(ConfigError, match=r"context\.collect"):
        load_context_options(find_project())


def test_later_parts_are_laid_over_earlier_ones_and_survive_json():
    first = Context(user="ada", git=Git(commit="ab", branch="main"))
    whole = first.updated(Context(packages={"a": "1"}, git=Git(is_dirty=False)))
    assert whole.git == Git("ab", "main", None, is_dirty=False)
    assert Context.from_plain({**whole.plain(), "of_a_newer_version": 1}) == whole
    with pytest.raises(ValueError, match="no context"):
        Context.from_plain({"git": 3})


def test_a_run_knows_it_at_once_and_its_repository_a_moment_later(project, monkeypatch, tmp_path):
    monkeypatch.setenv("TRACKYARD_CONTEXT", "user,command,packages,hardware")
    with start_run("a", experiment_tracker=None) as run:
        run.log_metric("loss", 1.0)
        folder = run.folder
        assert contexts_of(folder)[0].user
        wait_until(lambda: len(contexts_of(folder)) == 2)
        assert "attrs" in contexts_of(folder)[1].packages
    with start_run("b", experiment_tracker=None) as run:
        run.log_metric("loss", 1.0)
        assert "attrs" in contexts_of(run.folder)[0].packages  # it was collected once


def test_a_run_of_which_nothing_is_written_leaves_no_file(project, monkeypatch):
    monkeypatch.setenv("TRACKYARD_CONTEXT", "user")
    with tracked_step(pipeline="etl", step="a", experiment_tracker=None) as run:
        folder = run.folder
    assert not folder.exists()


def test_what_is_found_after_a_process_was_killed_still_arrives(project, monkeypatch):
    environment = {**os.environ, "TRACKYARD_CONTEXT": "user,packages"}
    code = (
        "import os, signal, trackyard\n"
        "with trackyard.start_run('a', experiment_tracker=None) as run:\n"
        "    run.log_metric('loss', 1.0)\n"
        "    print(run.folder, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment
    )
    assert done.returncode == -signal.SIGKILL
    folder = Path(done.stdout.strip())
    wait_until(lambda: any("attrs" in context.packages for context in contexts_of(folder)))


@pytest.mark.parametrize("what", ["nothing", "logs", "prints", "takes long"])
def test_steps_of_which_nothing_is_written_start_no_helper(project, monkeypatch, what):
    import psutil

    import trackyard
    from trackyard.tracking.collecting import collection_of

    def is_there():
        alive = [child for child in psutil.Process().children() if child.status() != "zombie"]
        return any("context_helper" in " ".join(child.cmdline()) for child in alive)

    @trackyard.step(experiment_tracker=None)
    def brief() -> None:
        if what == "logs":
            trackyard.log_metric("loss", 1.0)
        if what == "prints":
            print("said")
        if what == "takes long":
            wait_until(is_there)

    @trackyard.pipeline
    def only() -> None:
        brief()

    monkeypatch.setenv("TRACKYARD_CONTEXT", "user,packages")
    collection_of.cache_clear()
    monkeypatch.setattr("trackyard.tracking.collecting._GRACE", 0.1 if what == "takes long" else 60)
    run = only()

    if what == "nothing":
        assert not is_there()
    if what in ("logs", "prints"):
        folder = project.root / ".trackyard" / "runs" / run.steps["brief"].id
        wait_until(lambda: any("attrs" in context.packages for context in contexts_of(folder)))
        assert any("attrs" in context.packages for context in contexts_of(folder))


def test_runs_are_found_by_user_commit_and_tag(project, monkeypatch, commit):
    import getpass

    from trackyard import Client
    from trackyard.tracking.collecting import collection_of

    monkeypatch.setenv("TRACKYARD_CONTEXT", "user,git")
    script = str(Path.cwd() / "train.py")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", script, raising=False)
    collection_of.cache_clear()
    for stage in ("dev", "prod"):
        with start_run(stage, experiment_tracker=None, tags={"stage": stage}) as run:
            run.log_metric("loss", 1.0)
            folder = run.folder
            wait_until(lambda: any(context.git for context in contexts_of(folder)))
    client, me = Client(), getpass.getuser()
    named = [
        [run.name for run in client.list_runs(**wanted)]
        for wanted in (
            {"user": me},
            {"user": f"not {me}"},
            {"commit": commit[:7]},
            {"commit": "0" * 7},
            {"tags": {"stage": "prod"}},
            {"user": me, "commit": commit, "tags": {"stage": "dev"}},
        )
    ]
    assert named == [["prod", "dev"], [], ["prod", "dev"], [], ["prod"], ["dev"]]
    shown = client.get_run("dev").context
    assert shown is not None
    assert (shown.user, shown.git and shown.git.commit) == (me, commit)


def test_end_waits_for_a_context_that_comes_behind_it_and_no_longer(project, monkeypatch):
    monkeypatch.setenv("TRACKYARD_CONTEXT", "false")
    project.add_tracker("local", Recorder)

    def find_packages() -> None:
        helper = JournalWriter(run.folder, "child")
        helper.append(Entry("context", time.time_ns(), None, {"packages": {"attrs": "26"}}))
        helper.close()

    later = threading.Timer(0.5, find_packages)
    with start_run("brief", experiment_tracker="local") as run:
        found = {"user": "me", "is_awaited": True}
        run._tracked.journal.append(Entry("context", time.time_ns(), None, found))
        later.start()
        ended = time.monotonic()
    seconds = time.monotonic() - ended

    assert project.hooks()[-1] == "end"
    assert examine().problems == ()
    assert 0.3 < seconds < 4, "it waits, but not in vain for all of its five seconds"
