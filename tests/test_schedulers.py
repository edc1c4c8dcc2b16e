"""Do the schedulers' own checkers take our files, and do these work?"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from matrices import first_by_default

from trackyard import Client

ROOT = Path(__file__).parents[1]
FILES = ROOT / "examples/schedulers"
PAGES = ROOT / "docs/schedulers"
SHELL = [FILES / "cron/nightly.sh", *sorted(FILES.glob("slurm/*.sbatch"))]
SCHEDULED = [path for path in FILES.rglob("*") if path.is_file() and "__pycache__" not in str(path)]


def ran(*command, **options):
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    return done.returncode, done.stdout + done.stderr


def test_pages_show_the_files_as_they_are():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES.glob("*.md"))
    shown = re.findall(r"^```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

    for path in SCHEDULED:
        assert path.read_text(encoding="utf-8") in shown, f"{path.relative_to(ROOT)} is not shown"


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_shell_and_its_checker_take_the_script(path):
    assert ran("bash", "-n", path) == (0, "")
    assert ran(shutil.which("shellcheck", path=Path(sys.executable).parent), path) == (0, "")


@pytest.mark.parametrize("path", sorted(FILES.glob("slurm/*.sbatch")), ids=lambda path: path.name)
def test_options_of_slurm_stand_before_the_first_command(path):
    """SLURM reads none that comes later."""
    lines = path.read_text(encoding="utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    options = [i for i, line in enumerate(lines) if line.startswith("#SBATCH")]

    assert options
    assert max(options) < first
    for index in options:
        assert re.fullmatch(r"#SBATCH --[a-z-]+(=\S+)?", lines[index])


def test_cron_knows_the_times_and_reads_no_percent_sign_as_a_line():
    from croniter import croniter

    lines = (FILES / "cron/crontab").read_text(encoding="utf-8").splitlines()
    jobs = [line for line in lines if re.match(r"[\d*]", line)]

    assert len(jobs) == 2
    for job in jobs:
        assert croniter.is_valid(" ".join(job.split()[:5]))
        assert "%" not in job
        assert ran("bash", "-n", "-c", job.split(maxsplit=5)[5]) == (0, "")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_takes_the_units(tmp_path):
    program = tmp_path / "project/.venv/bin/trackyard"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in FILES.glob("systemd/*"):
        text = unit.read_text(encoding="utf-8").replace("%h", str(tmp_path))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    units = [tmp_path / "training.service", tmp_path / "training.timer"]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}

    assert ran("systemd-analyze", "--user", "verify", *units, env=environment) == (0, "")


@pytest.mark.parametrize(
    ("schema", "path"),
    first_by_default(
        [("github-workflows", "github/training.yml"), ("gitlab-ci", "gitlab/gitlab-ci.yml")]
    ),
)
def test_ci_takes_the_file(schema, path):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]

    assert ran(*command, FILES / path)[0] == 0
    scripts = list(_scripts(yaml.safe_load((FILES / path).read_text(encoding="utf-8"))))
    assert len(scripts) >= 3
    for script in scripts:
        assert ran("bash", "-n", "-c", re.sub(r"\$\{\{.*?\}\}", "x", script)) == (0, "")


def _scripts(value):
    """Give what a shell gets of a file for CI."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "run":
                yield item
            elif key in ("script", "after_script"):
                yield from item
            else:
                yield from _scripts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _scripts(item)


def test_kubernetes_takes_the_resources():
    from kubernetes_validate import validate

    resources = list(yaml.safe_load_all((FILES / "kubernetes/training.yaml").read_text()))

    assert [resource["kind"] for resource in resources] == ["PersistentVolumeClaim", "CronJob"]
    for resource in resources:
        validate(resource, "1.30", strict=True)


def test_argo_takes_the_workflow_with_all_of_its_keys():
    from hera.workflows.models import CronWorkflow

    written = yaml.safe_load((FILES / "argo/training.yaml").read_text(encoding="utf-8"))
    read = CronWorkflow.model_validate(written).model_dump(by_alias=True, exclude_none=True)

    assert list(_lost(written, read)) == []
    templates = {
        template["name"]: template for template in written["spec"]["workflowSpec"]["templates"]
    }
    for task in templates["steps"]["dag"]["tasks"]:
        assert task["template"] in templates


def _lost(written, read, path=""):
    """Name the keys that a model did not know."""
    if isinstance(written, dict):
        for key, item in written.items():
            if key not in read:
                yield f"{path}.{key}"
            else:
                yield from _lost(item, read[key], f"{path}.{key}")
    elif isinstance(written, list):
        for index, item in enumerate(written):
            yield from _lost(item, read[index], f"{path}[{index}]")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project as the files expect it, where the machine's program is this environment's."""
    for name in [name for name in os.environ if name.startswith(("TRACKYARD_", "SLURM_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", "system-metrics")
    root = tmp_path / "project"
    root.mkdir()
    (root / "trackyard.toml").write_text("[stacks.default]\nexperiment_trackers = []\n")
    for path in SCHEDULED:
        shutil.copy(path, root / path.name)
    (root / ".venv").symlink_to(Path(sys.prefix))
    monkeypatch.chdir(root)
    return root


@pytest.mark.slow
def test_nightly_script_trains_and_says_by_its_exit_code_how_it_went(project):
    code, output = ran("bash", project / "nightly.sh", cwd="/")
    (run,) = Client(project).list_runs()
    assert (code, run.status) == (0, "finished"), output
    assert run.name.startswith("nightly-")

    script = (project / "train.py").read_text()
    (project / "train.py").write_text(script.replace("loss = 1.0", "loss = 1.0 / 0.0"))
    assert ran("bash", project / "nightly.sh", cwd="/")[0] == 1

    holder = subprocess.Popen(["flock", ".nightly.lock", "cat"], cwd=project, stdin=subprocess.PIPE)
    try:
        while ran("flock", "--nonblock", ".nightly.lock", "true", cwd=project)[0] == 0:
            time.sleep(0.01)
        assert ran("bash", project / "nightly.sh", cwd="/")[0] == 75
    finally:
        holder.stdin.close()
        holder.wait()


@pytest.mark.slow
def test_job_that_is_preempted_goes_on_in_the_same_run_when_it_is_requeued(project, monkeypatch):
    """The job's script, with a `srun` that starts what it is given."""
    (project / "srun").write_text('#!/bin/sh\nexec "$@"\n')
    (project / "srun").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{project}:{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(project),
        "SLURM_JOB_ID": "4711",
        "EPOCHS": "1000000",
    }
    job = subprocess.Popen(["bash", "train.sbatch"], env=environment, start_new_session=True)
    checkpoint = project / "checkpoint-4711.json"
    while not checkpoint.exists():
        assert job.poll() is None
        time.sleep(0.02)
    os.killpg(job.pid, signal.SIGTERM)
    assert job.wait(timeout=60) != 0
    while (run := Client(project).list_runs()[0]).status == "running":  # its end is being written
        time.sleep(0.05)
    assert (run.name, run.status) == ("training-4711", "killed")
    reached = yaml.safe_load(checkpoint.read_text())["epoch"]

    code, output = ran("bash", "train.sbatch", env={**environment, "EPOCHS": str(reached + 5)})
    view = Client(project).get_run("training-4711")
    assert (code, view.status) == (0, "finished"), output
    assert [session.status for session in view.sessions] == ["killed", "finished"]
    assert view.curves["loss"].steps[-1] == reached + 4


@pytest.mark.slow
def test_array_has_a_run_for_each_task(project):
    (project / "srun").write_text('#!/bin/sh\nexec "$@"\n')
    (project / "srun").chmod(0o755)
    for task in ("0", "9"):
        environment = {
            **os.environ,
            "PATH": f"{project}:{os.environ['PATH']}",
            "SLURM_SUBMIT_DIR": str(project),
            "SLURM_ARRAY_JOB_ID": "12",
            "SLURM_ARRAY_TASK_ID": task,
        }
        code, output = ran("bash", "sweep.sbatch", env=environment)
        assert code == 0, output

    assert {run.name for run in Client(project).list_runs()} == {"sweep-12-0", "sweep-12-9"}
