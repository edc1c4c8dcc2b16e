"""What does the flavor keep of a run in its folder, and how does that become Comet's archive?

comet.json          where the run goes, and how many native messages have been sent
messages.jsonl      messages of portable calls, in a run that is offline
native/             what Comet's own calls write: messages.json and files; in native-1/ and so on
                    after the run was resumed
<key>.zip           the archive that `comet upload` takes
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from trackyard.contract import Record, Run, replacing, write_whole
from trackyard_comet.messages import (
    Message,
    count_messages,
    read_messages,
    records_of,
    without_own,
)

_STATE = "comet.json"
_PORTABLE = "messages.jsonl"


def native_folder(run: Run) -> Path:
    """Give the folder where Comet's own calls write, which begin it anew."""
    return run.folder / (f"native-{run.resumed}" if run.resumed else "native")


def _native_folders(folder: Path) -> list[Path]:
    """Give the folders where they have written, in the order of time."""
    resumed = sorted(folder.glob("native-*"), key=lambda path: (len(path.name), path.name))
    return [folder / "native", *resumed]


def archive_path(run: Run) -> Path:
    """Give the place of a run's archive."""
    return run.folder / f"{run.id}.zip"


def load_state(folder: Path) -> dict[str, Any]:
    """Read what is known of a run; nothing before its start."""
    try:
        return dict(json.loads((folder / _STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError):  # not started yet, or killed while it was written
        return {}


def save_state(folder: Path, **values: Any) -> None:
    """Write down values beside those that are known, whole or not at all.

    Args:
        folder: The tracker's folder of the run.
        **values: What JSON can hold, by name.
    """
    write_whole(folder / _STATE, json.dumps({**load_state(folder), **values}))


def append(folder: Path, messages: Iterable[Message]) -> None:
    """Keep messages; when this returns the system has them.

    Args:
        folder: The tracker's folder of the run.
        messages: What Comet's own offline files hold, a line each.
    """
    path = folder / _PORTABLE
    with path.open("a+b") as file:
        if file.tell() and not path.read_bytes().endswith(b"\n"):  # killed in the midst of a line
            file.write(b"\n")
        file.writelines(json.dumps(message).encode() + b"\n" for message in messages)


def native_messages(folder: Path, first: int = 0) -> list[Message]:
    """Read what Comet's own calls wrote, from a line on; files have their place as `source`.

    Args:
        folder: The tracker's folder of the run.
        first: How many lines are passed over.
    """
    found: list[Message] = []
    for native in _native_folders(folder):
        messages = read_messages(native / "messages.json", first)
        first = max(0, first - count_messages(native / "messages.json"))
        found += [_with_source(message, native) for message in messages]
    return found


def native_tags(folder: Path) -> list[str]:
    """Give the tags that Comet's own calls set."""
    tags: list[str] = []
    for native in _native_folders(folder):
        with suppress(OSError, ValueError, KeyError, TypeError):
            meta = json.loads((native / "experiment.json").read_text(encoding="utf-8"))
            tags += [str(tag) for tag in meta["tags"]]
    return [*dict.fromkeys(tags)]


def all_messages(folder: Path) -> list[Message]:
    """Give the messages of both kinds of calls."""
    return [*portable_messages(folder), *without_own(native_messages(folder))]


def portable_messages(folder: Path) -> list[Message]:
    """Give the messages of portable calls; what was delivered twice is there once."""
    messages = read_messages(folder / _PORTABLE)
    return list({json.dumps(message): message for message in messages if message}.values())


def write_archive(run: Run, facts: dict[str, Any]) -> None:
    """Write the archive, whole or not at all.

    Args:
        run: The run.
        facts: Entries of experiment.json: project_name, workspace, tags and what failed.
    """
    messages = all_messages(run.folder)
    experiment = {
        "offline_id": run.id,
        "start_time": run.started_at // 1_000_000,
        "stop_time": (run.ended_at or run.started_at) // 1_000_000,
        "resume_strategy": "get_or_create",
        "customer_error_reported": False,
        "customer_error_message": None,
        "user_provided_experiment_key": True,
        "comet_start_sourced": True,
        **facts,
    }
    zip_messages(archive_path(run), experiment, messages)


def zip_messages(path: Path, experiment: dict[str, Any], messages: Iterable[Message]) -> None:
    """Zip messages and the files that they name.

    Args:
        path: The archive, as `comet upload` takes it.
        experiment: What its `experiment.json` says.
        messages: The lines of its `messages.json`.
    """
    lines = []
    with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for message in messages:
            source = Path(message.get("source", ""))
            if message["type"] == "file_upload":
                if not source.is_file():
                    continue  # its writer was killed before it was whole
                archive.write(source, message["payload"]["file_path"])
            lines.append(json.dumps({key: message[key] for key in ("type", "payload")}))
        archive.writestr("messages.json", "".join(f"{line}\n" for line in lines))
        archive.writestr("experiment.json", json.dumps(experiment))


def read_archive(run: Run) -> Iterator[Record]:
    """Read the records of an archive; its files are unpacked beside it."""
    folder = run.folder / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(archive_path(run)) as archive:
        archive.extractall(folder)
    messages = read_messages(folder / "messages.json")
    yield from records_of(_with_source(message, folder) for message in messages)


def _with_source(message: Message, folder: Path) -> Message:
    if message.get("type") != "file_upload":
        return message
    return {**message, "source": str(folder / message["payload"]["file_path"])}
