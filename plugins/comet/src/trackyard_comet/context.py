"""Which of Comet's messages say where a run comes from, and how does a server take them?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trackyard.contract import Context, Git
from trackyard_comet.messages import Message, other_message

# What Comet has a place for; the rest is shown under "Other".
_SHOWN = (
    *("user", "host", "system", "python", "command", "script"),
    *("git.commit", "git.branch", "git.remote"),
)


def context_messages(context: Context) -> Iterator[Message]:
    """Give the messages that Comet's SDK writes of itself.

    Args:
        context: Where the run comes from.
    """
    system = (context.system or "").split(" ")
    details = {
        "command": list(context.command),
        "env": None,
        "hostname": context.host or "",
        "ip": "",
        "machine": system[-1],
        "os": "-".join(system),
        "os_release": system[1] if len(system) > 1 else "",
        "os_type": system[0],
        "pid": 0,
        "processor": system[-1],
        "python_exe": context.command[0] if context.command else "",
        "python_version": context.python or "",
        "python_version_verbose": context.python or "",
        "user": context.user or "",
    }
    yield {"type": "system_details", "payload": details}
    if context.script:
        yield {"type": "file_name", "payload": {"file_name": context.script}}
    if (git := context.git) is not None:
        names = {"branch": git.branch, "parent": git.commit, "origin": git.remote}
        known = {"user": context.user, "root": None, "status": None, "repo_name": None, **names}
        yield {"type": "git_metadata", "payload": {"git_metadata": known}}
    if context.packages:
        packages = context.requirements.splitlines()
        yield {"type": "installed_packages", "payload": {"installed_packages": packages}}
    for key, text in context.tags.items():
        if key.removeprefix("trackyard.") not in _SHOWN:
            yield other_message(key, text[:1000])


# What a server gets of a message under other names than the SDK's file has.
_NAMES = {
    "os_release": "osRelease",
    "os_type": "osType",
    "python_exe": "executable",
    "python_version": "pythonVersion",
    "python_version_verbose": "pythonVersionVerbose",
    "installed_packages": "installedPackages",
    "os_packages": "osPackages",
    "gpu_static_info": "gpuStaticInfoList",
    "file_name": "filePath",
}
# Where it goes, by the message's type.
_PLACES = {
    "system_details": "system-details",
    "installed_packages": "system-details",
    "os_packages": "system-details",
    "gpu_static_info": "system-details",
    "file_name": "file-path",
    "git_metadata": "git/metadata",
}
TOLD = frozenset(_PLACES)


def request_of(message: Message) -> tuple[str, dict[str, Any]] | None:
    """Give what a server is told by a message, and under which name; None for another message.

    Args:
        message: The message.
    """
    place, payload = _PLACES.get(message["type"]), message["payload"]
    if place is None:
        return None
    if message["type"] == "git_metadata":
        sent = ("user", "root", "branch", "parent", "origin")
        return place, {name: payload["git_metadata"].get(name) for name in sent}
    return place, {_NAMES.get(k, k): v for k, v in payload.items() if k != "message_id"}


def context_in(message: Message) -> Context:
    """Give what one of these messages says of where a run comes from.

    Args:
        message: The message, as Comet's SDK writes it into an archive.
    """
    payload = message["payload"]
    match message["type"]:
        case "system_details":
            command = payload.get("command")
            return Context(
                user=payload.get("user") or None,
                host=payload.get("hostname") or None,
                system=payload.get("os") or None,
                python=payload.get("python_version") or None,
                command=tuple(map(str, command)) if isinstance(command, list) else (),
            )
        case "file_name":
            return Context(script=payload.get("file_name") or None)
        case "git_metadata":
            return Context(git=git_of(payload.get("git_metadata") or {}))
        case "installed_packages":
            found = (str(line).partition("==") for line in payload.get("installed_packages") or ())
            return Context(packages={name: version for name, _, version in found if version})
    return Context()


def git_of(found: Mapping[str, Any]) -> Git | None:
    """Give the state of a repository as Comet says it; None where it says nothing.

    Args:
        found: Its parts by Comet's names.
    """
    names = {"commit": "parent", "branch": "branch", "remote": "origin"}
    known = Git(**{ours: found.get(theirs) or None for ours, theirs in names.items()})
    return None if known == Git() else known
