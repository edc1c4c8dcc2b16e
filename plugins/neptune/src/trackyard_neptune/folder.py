"""How are a run's operations kept in a folder of Neptune's, as its SDK keeps those of offline runs?

metadata.json                       which run it is
data-1.log                          an operation a line, with its number
last_put_version, last_ack_version  the last number, and the last that a server has

Neptune's own `neptune sync` takes it, too. Operations of native calls are copied in, with their
place in the folder that the SDK itself has written.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trackyard.contract import Run, write_whole
from trackyard_neptune.operations import Operation, Steps, in_order

_STATE = "neptune.json"
_NATIVE = "native"
_SETS = "sets"  # in a position, where else are names of logs
_WORDS = ["sys", "tags"]  # Neptune's tags
# What the SDK collects by itself, which is Neptune's own affair.
_COLLECTED = ("monitoring", "source_code")


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


def native_folder(folder: Path) -> Path:
    """Give the folder where Neptune's own calls write."""
    return folder / _NATIVE


def native_operations(folder: Path, position: str, name: str) -> tuple[list[Operation], str]:
    """Give what Neptune's own calls have written behind a position, and the position behind it.

    Args:
        folder: The tracker's folder of the run.
        position: The bytes of each of the SDK's logs that are known, and the sets of words, as
            JSON; empty at first.
        name: The run's name: another one that the code gives is a tag, as its description is.
    """
    known: dict[str, Any] = json.loads(position) if position else {}
    operations = []
    for path in sorted(native_folder(folder).rglob("data-*.log"), key=_number):
        place = path.relative_to(folder).as_posix()
        for line, end in _lines(path, known.get(place, 0)):
            known[place] = end
            operations.append(_with_source(line["obj"], path.parent))
    logged = [one for one in operations if one["path"][0] not in _COLLECTED and not _is_own(one)]
    said = {
        one["path"][1]: one["value"]
        for one in operations
        if one["path"] in (["sys", "name"], ["sys", "description"]) and not _is_own(one)
    }
    for field, text in said.items():
        if text != name:
            shown = {"type": "AssignString", "path": ["tags", f"neptune.{field}"], "value": text}
            logged.append(shown)
    # A run that an older version has begun knows Neptune's tags alone.
    sets = known.setdefault(_SETS, {"tags": known.pop("tags")} if "tags" in known else {})
    for changed in dict.fromkeys(filter(None, [_changed(sets, one) for one in operations])):
        shown = {"type": "AssignString", "path": ["tags", *changed.split("/")]}
        logged.append({**shown, "value": ", ".join(sets[changed])})
    return logged, json.dumps(known)


def _changed(sets: dict[str, list[str]], operation: Operation) -> str | None:
    """Change a set of words as an operation says, and give its name; None where it is of none."""
    path = operation["path"]
    if path[0] in _COLLECTED or (path[0] == "sys" and path != _WORDS):
        return None
    name = "tags" if path == _WORDS else "/".join(path)
    words, given = sets.get(name, []), operation.get("values", [])
    match operation["type"]:
        case "AddStrings":
            sets[name] = list(dict.fromkeys([*words, *given]))
        case "RemoveStrings":
            sets[name] = [word for word in words if word not in given]
        case "ClearStringSet":
            sets[name] = []
        case _:
            return None
    return name


class OperationFolder:
    """The operations of one run. What is appended is kept when the call returns."""

    def __init__(self, run: Run) -> None:
        container = str(uuid.UUID(hex=run.id))
        self.path = run.folder / ".neptune" / "offline" / f"run__{container}__0__trackyrd"
        self.steps = Steps()
        self._log = self.path / "data-1.log"
        self._version = 0
        self._sent = 0  # bytes of the log
        self._copied: dict[str, int] = {}  # bytes of each of the SDK's logs
        self._open(container)

    def append(
        self, operations: Iterable[Operation], native: tuple[str, int] | None = None
    ) -> None:
        """Append operations, all or none of them.

        Args:
            operations: The operations; their steps become such as Neptune takes.
            native: The SDK's file that they come from, and how much of it is then copied.
        """
        lines, number, now = [], self._version, time.time()
        for operation in operations:
            for each in in_order(operation, self.steps):
                number += 1
                line = {"obj": each, "version": number, "at": now}
                lines.append({**line, "native": native} if native else line)
        if not lines:
            return
        with self._log.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
            try:
                if file.write(data) < len(data):
                    raise OSError(f"{self._log}: the disk is full")
            except OSError:
                file.truncate(size)
                raise
        self._version = number
        (self.path / "last_put_version").write_text(str(number))
        if native:
            self._copied[native[0]] = native[1]

    def copy_native(self, folder: Path) -> None:
        """Append what Neptune's own calls have written since the last time."""
        for path in sorted(native_folder(folder).rglob("data-*.log"), key=_number):
            name = path.relative_to(folder).as_posix()
            found = list(_lines(path, self._copied.get(name, 0)))
            wanted = [_with_source(line["obj"], path.parent) for line, _ in found]
            wanted = [operation for operation in wanted if not _is_own(operation)]
            if wanted:
                self.append(wanted, (name, found[-1][1]))

    def all(self) -> Iterator[Operation]:
        """Give every operation."""
        return (line["obj"] for line, _ in _lines(self._log))

    def unsent(self) -> tuple[list[Operation], int]:
        """Give what no server has yet, and what to acknowledge when one has it."""
        found = list(_lines(self._log, self._sent))
        return [line["obj"] for line, _ in found], found[-1][1] if found else self._sent

    def acknowledge(self, end: int) -> None:
        """Note that a server has what `unsent` gave."""
        self._sent = end
        (self.path / "last_ack_version").write_text(str(self._version))

    def _open(self, container: str) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / "metadata.json").exists():
            facts = {
                "mode": "offline",
                "containerId": container,
                "containerType": "run",
                "structureVersion": 3,
                "os": platform.platform(),
                "pythonVersion": sys.version,
                "neptuneClientVersion": version("neptune"),
                "createdAt": datetime.now(UTC).isoformat(),
            }
            (self.path / "metadata.json").write_text(json.dumps(facts, indent=2))
            (self.path / "last_ack_version").write_text("0")
        self._log.touch()
        text = self._log.read_bytes()
        if not text.endswith(b"\n") and text:  # killed in the midst of a line
            with self._log.open("r+b") as file:
                file.truncate(text.rfind(b"\n") + 1)
        acknowledged = self._read_number("last_ack_version")
        for line, end in _lines(self._log):
            self._version = line["version"]
            self.steps.note(line["obj"])
            if line.get("native"):
                name, copied = line["native"]
                self._copied[name] = copied
            if self._version <= acknowledged:
                self._sent = end

    def _read_number(self, name: str) -> int:
        try:
            return int((self.path / name).read_text())
        except (OSError, ValueError):
            return 0


def operations_in(folder: Path) -> list[Operation]:
    """Give all operations of a folder that any SDK has written, in their order.

    Args:
        folder: Where its logs are.
    """
    logs = sorted(folder.glob("data-*.log"), key=_number)
    return [_with_source(line["obj"], folder) for path in logs for line, _ in _lines(path)]


def _lines(path: Path, start: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Read a log from a byte on, each line with where it ends; a torn one is left for later."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            text = file.read()
    except OSError:
        return
    for line in text[: text.rfind(b"\n") + 1].splitlines(keepends=True):
        start += len(line)
        try:
            found = json.loads(line)
            if {"obj", "version"} <= found.keys():
                yield found, start
        except (ValueError, AttributeError):
            continue


def _number(path: Path) -> tuple[str, int]:
    return str(path.parent), int(path.stem.split("-")[1])


def _with_source(operation: Operation, folder: Path) -> Operation:
    """Name the file that an operation uploads by its whole path."""
    if operation["type"] != "UploadFile" or not operation.get("tmp_file_name"):
        return operation
    source = str(folder / "upload_path" / operation["tmp_file_name"])
    return {**operation, "file_path": source, "tmp_file_name": None}


def _is_own(operation: Operation) -> bool:
    """Tell whether the SDK writes it of its own accord."""
    (first, *rest), value = operation["path"], operation.get("value")
    return (
        (operation["type"] == "UploadFileSet" and not operation["file_globs"])
        or (first == "sys" and rest == ["name"] and value == "Untitled")
        or (first == "sys" and rest == ["description"] and value == "")
        or (first == "sys" and rest == ["failed"] and value is False)
    )
