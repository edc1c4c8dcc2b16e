"""Write the page of what commands give with `--json`, as the classes behind them declare it.

Run it with `uv run docs/write_json.py` after a change; a test says when that is due.
"""

import importlib
import re
import sys
import typing
from pathlib import Path

import attrs

PAGE = Path(__file__).parent / "reference" / "json.md"
HEAD = """\
# What `--json` gives

Every command takes `--json` and writes one document to stdout: an object, or a list of objects.
But `exec` writes it on one line, the last of stderr: stdout belongs to the command that it runs.
`sync --watch` writes a list on one line whenever something has changed.
`runs logs --follow` does so whenever something was printed.
Keys may be added, never renamed or removed, until the next major version.
Numbers that JSON does not have (NaN, infinities) are null, and times are ISO 8601 in UTC.
What is not known is null or an empty text.
Errors are lines on stderr, and the exit code is 1, or 2 for wrong usage.
`Client` gives the same as objects with these attributes.

This page is written by `docs/write_json.py`.
"""
_HEADS = "| key | what it says |\n|---|---|\n"
_TRACKER = "trackyard.registry.components:TrackerView"
_STACK = "trackyard.registry.components:StackView"
_DELETED = {"name": "Its name", "is_deleted": "`true`"}
_LOGGED = {
    "run": "The id of the run that it was logged into",
    "kind": "`metric`, `param`, `tag` or `artifact`",
    "key": "Its key; of an artifact its name in the run",
    "value": "What was logged; of an artifact the path",
    "step": "The training step of a metric, if one was given",
}

# For each command a class (in brackets: a list of them), or its keys where no class stands behind.
COMMANDS: dict[str, str | list[str] | dict[str, str] | list[dict[str, str]]] = {
    "runs list": ["trackyard.runs.lists:RunSummary"],
    "runs show": "trackyard.runs.views:RunView",
    "runs compare": "trackyard.runs.comparisons:Comparison",
    "runs logs": [
        {
            "step": "The step; of a run without a pipeline its own name",
            "time": "When the line was printed (UTC)",
            "stream": "`out`, `err`, or `note` for a remark of Trackyard's own",
            "text": "The line",
        }
    ],
    "runs url": {"url": "The address", "urls": "Its address by tracker"},
    "runs open": {"url": "The address", "is_open": "A browser took it"},
    "runs export": {
        "file": "The file that was written",
        "format": "`json`, `csv` or `parquet`",
        "runs": "How many runs it holds",
    },
    "runs download": [
        {
            "name": "The file's name in the run",
            "kind": "`file`, `image`, `figure`, `table`, `text` or `html`",
            "size": "Its bytes",
            "media_type": "Its MIME type",
            "step": "The training step, if one was given",
            "logged_at": "When it was logged (UTC)",
            "path": "Where it was saved",
        }
    ],
    "runs verify": ["trackyard.runs.verifying:Verification"],
    **{
        f"runs {name}": ["trackyard.runs.annotating:SentAnnotation"]
        for name in ("tag", "note", "rename", "end")
    },
    "runs delete": [{"id": "The run's id", **_DELETED}],
    "replay": [
        {
            "run": "The run's name",
            "state": "`complete` or `incomplete`",
            "tracker": "The tracker's name",
            "url": "The run's address there",
            "is_complete": "The tracker has everything",
            "delivered": "Records that it has",
            "pending": "Records that are sent later",
            "quarantined": "Records that it refused for good",
            "changes": "What was changed to fit it, with how often",
            "problem": "The last error as one line",
            "lost": "Log calls lost to a full or damaged disk, or with a machine",
            "is_kept_offline": "Its SDK keeps the run until `trackyard sync`",
        }
    ],
    "archive": {"file": "The file", "runs": "How many runs are in it"},
    "import": ["trackyard.recovery.importing:ImportedRun"],
    "replay --plan": ["trackyard.recovery.replay:ReplayPlan"],
    "sync": ["trackyard.recovery.syncing:SyncRow"],
    "gc": ["trackyard.runs.garbage:CollectedRun"],
    "store rebuild": {
        "indexed": "How many runs were written",
        "unreadable": "How many folders of runs could not be read",
    },
    "store upgrade": {"store": "The database", "format": "The number of its schema"},
    "doctor": "trackyard.runs.doctor:Diagnosis",
    "experiment-tracker list": [_TRACKER],
    **{
        f"experiment-tracker {name}": _TRACKER
        for name in ("describe", "register", "update", "rename", "copy", "remove-attribute")
    },
    "experiment-tracker delete": _DELETED,
    "experiment-tracker check": "trackyard.registry.probing:TrackerCheck",
    "experiment-tracker flavor list": ["trackyard.registry.components:FlavorView"],
    "experiment-tracker flavor describe": "trackyard.registry.components:FlavorDescription",
    "experiment-tracker flavor new": {
        "name": "The flavor's name",
        "distribution": "Its distribution",
        "flavor": "Its class, as `module:Class`",
        "directory": "Where it was written",
        "files": "What was written there",
    },
    "experiment-tracker flavor check": [
        {
            "check": "The check's name",
            "sentence": "The sentence of the contract that it proves",
            "outcome": "`passed`, `failed` or `skipped`",
            "reason": "Why it did not pass",
            "seconds": "How long it took",
            "page": "What to read where it failed: a page of the documentation",
        }
    ],
    "stack list": [_STACK],
    **{
        f"stack {name}": _STACK
        for name in ("describe", "register", "update", "rename", "copy", "remove-attribute", "set")
    },
    "stack delete": _DELETED,
    "stack import": _STACK,
    "stack export": {"toml": "The text", "file": "The file that was written, if one was"},
    "run": {
        "name": "The pipeline run's name",
        "id": "Its id",
        "pipeline": "Its pipeline",
        "stack": "The stack that it ran on",
        "status": "How it ended",
        "seconds": "How long it took",
        "params": "The pipeline's arguments",
        "steps": "For each step `name`, `id`, `status`, `attempt`, `seconds`, `error`, the last "
        "value of each of its `metrics`, and its `url`",
    },
    "exec": {
        "id": "The run's id",
        "name": "Its name",
        "exit_code": "The command's exit code, or 128 and the number of the signal that ended it",
        "status": "How the run ended; empty where it is kept elsewhere, as on a full disk",
        "urls": "Its address by tracker",
    },
    **{f"log {kind}": _LOGGED for kind in ("metric", "param", "tag", "artifact")},
    "init": {
        "file": "The file that was written",
        "experiment_trackers": "Names of the trackers in it",
        "found": "For each flavor that was looked for `flavor`, `is_installed` and the environment "
        "`variables` that speak for it",
        "lines": "What to add to a training, for --framework",
    },
    "config show": [
        {
            "key": "The key path",
            "value": "What counts; secrets as references",
            "origin": "Command line, variable, project file, pyproject, user file or default",
            "place": "The file and key path, or the variable",
        }
    ],
    "completion show": {"shell": "The shell", "script": "The script to be sourced"},
    "completion install": {
        "shell": "The shell",
        "script": "The script that was written",
        "file": "The file that reads it, if one was changed",
    },
    "ui": {
        "name": "The tracker's name",
        "url": "The address that it opens",
        "process": "The server's process id",
    },
    "plugins": [
        {
            "name": "Name of the entry point",
            "group": "Its entry-point group",
            "distribution": "The distribution that brings it",
            "version": "The distribution's version",
            "file": "Where its code is",
            "hooks": "The hooks that it has",
            "problem": "Why it cannot be used",
        }
    ],
}


def page() -> str:
    """Give the page's text as it should be."""
    parts, classes = [HEAD], []
    for command, given in COMMANDS.items():
        of = given[0] if isinstance(given, list) else given
        is_list = isinstance(given, list)
        if isinstance(of, str):
            cls = load(of)
            classes += [cls, *inner_classes(cls)]
            kind = "a list of" if is_list else "one"
            parts.append(f"`trackyard {command}`: {kind} [{cls.__name__}](#{anchor(cls)})\n")
        else:
            rows = "".join(f"| `{key}` | {text} |\n" for key, text in of.items())
            kind = "a list of objects" if is_list else "an object"
            parts.append(
                f"`trackyard {command}`: {kind}\n\n| key | what it says |\n|---|---|\n{rows}"
            )
    parts += [section(cls) for cls in dict.fromkeys(classes)]
    return "\n".join(parts)


def section(cls: type) -> str:
    """Describe a class."""
    first = (cls.__doc__ or "").strip().splitlines()[0]
    rows = "".join(f"| `{field.name}` | {text_of(field)} |\n" for field in fields_of(cls))
    return f"## {cls.__name__}\n\n{first}\n\n{_HEADS}{rows}"


def text_of(field: attrs.Attribute) -> str:
    """Give what a field says, and which objects it holds."""
    inner = [f"[{cls.__name__}](#{anchor(cls)})" for cls in classes_in(field.type)]
    return " ".join([field.metadata.get("help", ""), *(f"({link})" for link in inner)])


def fields_of(cls: type) -> list[attrs.Attribute]:
    """Give the fields that JSON holds."""
    attrs.resolve_types(cls)
    return [field for field in attrs.fields(cls) if field.metadata.get("json", True)]


def keys_of(command: str) -> list[str]:
    """Name the keys of a command's objects."""
    given = COMMANDS[command]
    of = given[0] if isinstance(given, list) else given
    return [field.name for field in fields_of(load(of))] if isinstance(of, str) else list(of)


def inner_classes(cls: type) -> list[type]:
    """Give the classes of the objects inside, and inside of those."""
    found = [inner for field in fields_of(cls) for inner in classes_in(field.type)]
    return [each for inner in found for each in (inner, *inner_classes(inner))]


def classes_in(annotation: object) -> list[type]:
    if isinstance(annotation, type) and attrs.has(annotation):
        return [annotation]
    return [found for member in typing.get_args(annotation) for found in classes_in(member)]


def load(reference: str) -> type:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def anchor(cls: type) -> str:
    return re.sub(r"\W", "", cls.__name__).lower()


if __name__ == "__main__":
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        PAGE.write_text(page(), encoding="utf-8")
        print(f"{PAGE} has changed", file=sys.stderr)
