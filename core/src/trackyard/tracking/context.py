"""Where does this process's work come from, as far as it can be said at once?

Nothing here starts a process, reads a repository or waits for a disk: what takes longer is
collected beside the step (`tracking.collecting`).
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import attrs

from trackyard.contract.context import Context
from trackyard.contract.errors import ConfigError
from trackyard.project.configuration import Project
from trackyard.project.structuring import structure
from trackyard.redaction.redactor import Redactor
from trackyard.redaction.secret_shapes import is_secret_name
from trackyard.system.users import user_name

Part = Literal["user", "host", "command", "git", "packages", "hardware", "job", "diff"]
PARTS: tuple[Part, ...] = get_args(Part)
VARIABLE = "TRACKYARD_CONTEXT"

# A command is kept so far: some hold a whole program, or a thousand files.
_MOST_ARGUMENTS, _MOST_CHARACTERS = 200, 1000
# What schedulers and CI say, and under which name it is kept.
_JOB_VARIABLES = {
    "slurm.job_id": "SLURM_JOB_ID",
    "slurm.job_name": "SLURM_JOB_NAME",
    "slurm.array_job_id": "SLURM_ARRAY_JOB_ID",
    "slurm.array_task_id": "SLURM_ARRAY_TASK_ID",
    "slurm.partition": "SLURM_JOB_PARTITION",
    "slurm.nodes": "SLURM_JOB_NODELIST",
    "slurm.cluster": "SLURM_CLUSTER_NAME",
    "lsf.job_id": "LSB_JOBID",
    "pbs.job_id": "PBS_JOBID",
    "ray.job_id": "RAY_JOB_ID",
    "github.repository": "GITHUB_REPOSITORY",
    "github.run_id": "GITHUB_RUN_ID",
    "github.workflow": "GITHUB_WORKFLOW",
    "github.actor": "GITHUB_ACTOR",
    "gitlab.job_id": "CI_JOB_ID",
    "gitlab.job_url": "CI_JOB_URL",
    "gitlab.pipeline_id": "CI_PIPELINE_ID",
    "jenkins.build_url": "BUILD_URL",
    "buildkite.build_url": "BUILDKITE_BUILD_URL",
    "circleci.build_url": "CIRCLE_BUILD_URL",
    "azure.build_id": "BUILD_BUILDID",
    "sagemaker.job_name": "TRAINING_JOB_NAME",
    "vertex.job_id": "CLOUD_ML_JOB_ID",
}
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def _parts(_: Any, __: Any, value: bool | list[str]) -> None:
    unknown = [] if isinstance(value, bool) else [part for part in value if part not in PARTS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(PARTS)}")


@attrs.frozen(kw_only=True)
class ContextOptions:
    """What a project says of where its runs come from, in `[context]`.

    Attributes:
        collect: What of it is collected: `user`, `host` (with system and Python), `command` (with
            script and folder), `git`, `packages`, `hardware`, `job`, and `diff`, the changes since
            the commit, as a file. True: all but the diff; false: nothing.
    """

    collect: bool | list[str] = attrs.field(default=True, validator=_parts)

    @property
    def parts(self) -> frozenset[str]:
        """What is collected."""
        if isinstance(self.collect, bool):
            return frozenset(PARTS) - {"diff"} if self.collect else frozenset()
        return frozenset(self.collect)


def load_context_options(project: Project) -> ContextOptions:
    """Read a project's `[context]`, or the variable that stands in for it.

    Raises:
        ConfigError: It has an unknown key or a wrong value.
    """
    written = os.environ.get(VARIABLE, "")
    if written:
        switch = {"0": False, "false": False, "1": True, "true": True}.get(written.lower())
        named = [part.strip() for part in written.split(",") if part.strip()]
        collect = named if switch is None else switch
        return structure({"collect": collect}, ContextOptions, VARIABLE)
    table, place = project.table.get("context", {}), project.place("context")
    if not isinstance(table, Mapping):
        raise ConfigError(f"{place}: must be a table, not {table!r}")
    return structure(table, ContextOptions, place) if table else ContextOptions()


def context_at_once(
    parts: frozenset[str], redactor: Redactor, command: Sequence[str] | None = None
) -> Context:
    """Say where this process's work comes from, without waiting for anything.

    Args:
        parts: What is collected.
        redactor: Keeps secrets out of it.
        command: A command that is tracked; that of this process by default.
    """
    found: dict[str, Any] = {}
    if "user" in parts:
        found["user"] = user_name() or str(os.getuid())
    if "host" in parts:
        system = os.uname()
        found["host"], found["python"] = system.nodename, platform.python_version()
        found["system"] = f"{system.sysname} {system.release} {system.machine}"
    if "command" in parts:
        given = list(command) if command is not None else list(sys.orig_argv)
        found["command"] = redacted_command(given, redactor)
        found["script"] = redactor.redact(_script_in(given) if command else _own_script())
        with suppress(OSError):  # somebody has deleted it
            found["folder"] = str(Path.cwd())
    if "hardware" in parts:
        found["cpus"], found["memory"] = _processors(), _memory()
    if "job" in parts:
        found["job"] = {key: redactor.redact(value) for key, value in _job().items()}
    return Context(**found)


def redacted_command(command: Sequence[str], redactor: Redactor) -> tuple[str, ...]:
    """Give a command without secrets, argument by argument, as far as it is kept.

    Args:
        command: The program and its arguments.
        redactor: Knows secrets by value and by shape.
    """
    shown: list[str] = []
    is_secret = False  # this argument is what the option before it names
    for argument in command[:_MOST_ARGUMENTS]:
        name, sign, value = argument.partition("=")
        if is_secret and not argument.startswith("--"):
            shown.append("***")
        elif sign and value and is_secret_name(name.lstrip("-+~")):
            shown.append(f"{redactor.redact(name)}=***")
        else:
            text = redactor.redact(argument)
            shown.append(text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…")
        is_option = argument.startswith("-") and not sign
        is_secret = is_option and is_secret_name(argument.lstrip("-"))
    left = len(command) - len(shown)
    return (*shown, f"… and {left} more") if left else tuple(shown)


def _own_script() -> str:
    """Give what was run: a file as it was typed, a notebook, or what stands for a console."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    names = getattr(shell, "user_ns", {})
    notebook = names.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    if notebook and "ipykernel" in sys.modules:
        return str(notebook)
    return sys.argv[0] if sys.argv and sys.argv[0] else "<console>"


def _script_in(command: Sequence[str]) -> str:
    """Give the file that a command runs: the interpreter's first argument, or the program."""
    if Path(command[0]).name.startswith("python"):
        for argument in command[1:]:
            if not argument.startswith("-"):
                return argument
    return command[0]


def _processors() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _job() -> dict[str, str]:
    known = {key: os.environ.get(name, "") for key, name in _JOB_VARIABLES.items()}
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        known["kubernetes.pod"] = os.environ.get("HOSTNAME", "")
        with suppress(OSError):
            known["kubernetes.namespace"] = _NAMESPACE.read_text(encoding="utf-8").strip()
    for file, name in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if os.path.exists(file):  # noqa: PTH110 - one look
            known["container"] = name
    return {key: value for key, value in known.items() if value}
