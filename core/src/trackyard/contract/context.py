"""Where does a run come from: who made it, on which machine, by which command and commit?"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs

from trackyard.system.showing import says


def _texts(values: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(values))


@attrs.frozen
class Git:
    """The state of the repository that a run's code is in; None for what is not known.

    Attributes:
        commit: The commit that is checked out.
        branch: Its branch, or None where it is none.
        remote: Address of the remote repository, without credentials.
        is_dirty: Files that git knows were changed since the commit.
    """

    commit: str | None = attrs.field(default=None, metadata=says("The commit that is checked out"))
    branch: str | None = attrs.field(default=None, metadata=says("Its branch"))
    remote: str | None = attrs.field(
        default=None, metadata=says("Address of the remote repository, without credentials")
    )
    is_dirty: bool | None = attrs.field(
        default=None, metadata=says("Files that git knows were changed; null if unknown")
    )


@attrs.frozen
class Context:
    """Where a run comes from; what is not known, or not collected, is None or empty.

    Attributes:
        user: Name of the user on that machine.
        host: Name of the machine.
        system: Operating system, its release and the processor's kind.
        python: Version of Python.
        command: The command with its arguments, secrets left out.
        script: The file that was run, as it was typed, or the program.
        folder: The working directory.
        git: The state of the repository, or None where there is none.
        packages: Version by name of each installed distribution.
        cpus: How many processors the process may use.
        memory: Bytes of memory that the machine has.
        gpus: The names of its graphics processors.
        job: What a scheduler, a container or CI says of the job, such as `slurm.job_id`.
    """

    user: str | None = attrs.field(default=None, metadata=says("Name of the user"))
    host: str | None = attrs.field(default=None, metadata=says("Name of the machine"))
    system: str | None = attrs.field(
        default=None, metadata=says("Operating system, release, kind of processor")
    )
    python: str | None = attrs.field(default=None, metadata=says("Version of Python"))
    command: tuple[str, ...] = attrs.field(
        default=(), metadata=says("The command with its arguments, without secrets")
    )
    script: str | None = attrs.field(
        default=None, metadata=says("The file that was run, or the program")
    )
    folder: str | None = attrs.field(default=None, metadata=says("The working directory"))
    git: Git | None = attrs.field(default=None, metadata=says("The state of the repository"))
    packages: Mapping[str, str] = attrs.field(
        factory=dict, converter=_texts, metadata=says("Version by name of each distribution")
    )
    cpus: int | None = attrs.field(default=None, metadata=says("How many processors it may use"))
    memory: int | None = attrs.field(default=None, metadata=says("Bytes of memory of the machine"))
    gpus: tuple[str, ...] = attrs.field(
        default=(), metadata=says("Names of its graphics processors")
    )
    job: Mapping[str, str] = attrs.field(
        factory=dict,
        converter=_texts,
        metadata=says("What a scheduler, a container or CI says of the job"),
    )

    def updated(self, later: Context) -> Context:
        """Lay what became known later over this.

        Args:
            later: What it does not know stays as it is here.
        """
        known = _known(later)
        if self.git is not None and later.git is not None:
            known["git"] = attrs.evolve(self.git, **_known(later.git))
        return attrs.evolve(self, **known)

    @property
    def tags(self) -> dict[str, str]:
        """Give what is known as texts, for backends without a place for it; without packages."""
        git = self.git or Git()
        known = {
            "user": self.user,
            "host": self.host,
            "system": self.system,
            "python": self.python,
            "command": shlex.join(self.command),
            "script": self.script,
            "folder": self.folder,
            "git.commit": git.commit,
            "git.branch": git.branch,
            "git.remote": git.remote,
            "git.is_dirty": None if git.is_dirty is None else str(git.is_dirty).lower(),
            "cpus": self.cpus,
            "memory": self.memory,
            "gpus": ", ".join(self.gpus),
            **{f"job.{key}": text for key, text in self.job.items()},
        }
        return {f"trackyard.{key}": str(text) for key, text in known.items() if text}

    @property
    def requirements(self) -> str:
        """Give the packages as a file of requirements has them."""
        return "".join(f"{name}=={version}\n" for name, version in self.packages.items())

    def plain(self) -> dict[str, Any]:
        """Give what is known as JSON has it."""
        plain: dict[str, Any] = _known(self)
        for name in ("packages", "job"):
            if name in plain:
                plain[name] = dict(plain[name])
        if self.git is not None:
            plain["git"] = _known(self.git)
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Context:
        """Read what `plain` gives; what a newer version knows besides is left out.

        Args:
            plain: A table, as JSON has it.

        Raises:
            ValueError: It says what no context says.
        """
        known = {key: plain[key] for key in attrs.fields_dict(cls) if plain.get(key) is not None}
        try:
            if "git" in known:
                fields = attrs.fields_dict(Git)
                known["git"] = Git(**{k: v for k, v in known["git"].items() if k in fields})
            for name in ("command", "gpus"):
                if name in known:
                    known[name] = tuple(str(item) for item in known[name])
            return cls(**known)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"no context: {error}") from error


def _known(value: Any) -> dict[str, Any]:
    """Give the fields of a value that say something."""
    given = attrs.asdict(value, recurse=False)
    return {key: found for key, found in given.items() if found not in (None, (), {})}
