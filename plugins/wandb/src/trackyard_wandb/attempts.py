"""How do the attempts of one step become one run of W&B's, where a tracker is told so?

Each attempt has a file of its own; at its end it is joined to that of the attempt before it, row
upon row, so that what is uploaded again takes its own place.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from trackyard.contract import RetryLater, Run, home
from trackyard_wandb.logfile import LogWriter, read_log
from trackyard_wandb.media import place_file
from trackyard_wandb.places import Place
from trackyard_wandb.records import STEP, history_record, items_of, parse
from trackyard_wandb.writing import first_records, log_path


def note_attempt(id: str, path: Path) -> None:
    """Note where an attempt is kept; a later one looks for it.

    Args:
        id: W&B's id, which the attempts share.
        path: The attempt's file.
    """
    known = _attempts(id)
    if str(path) not in known:
        file = home() / "wandb-attempts" / id
        with suppress(OSError):  # then each attempt stays alone
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join([*known, str(path)]), encoding="utf-8")


def joined(run: Run, place: Place, own: Path) -> Path:
    """Join an attempt that has ended to the one before it; give the file to be uploaded.

    Args:
        run: The run.
        place: Its names in W&B.
        own: The attempt's file.

    Raises:
        RetryLater: The attempt before it has not ended yet.
    """
    before = _before(place.id, own)
    if before is None:
        return own
    path = log_path(run.folder / "joined", place.id)
    if any(record.HasField("exit") for record in map(parse, _records(path))):
        return path
    kept = [_without_failure(parse(data)) for data in _records(before)]
    if not any(record.HasField("exit") for record in kept):
        raise RetryLater("the attempt before this one has not ended yet")
    path.unlink(missing_ok=True)
    last, records = -1, first_records(run, place)
    for record in [*kept[2:], *map(parse, _records(own)[2:])]:
        if record.HasField("history"):
            row, last = _numbered(record, last + 1)
            records.append(row)
        elif not record.HasField("exit"):
            records.append(record)
    records.append(parse(_records(own)[-1]))
    for number, record in enumerate(records, 1):
        record.num = number
    for folder in (before.parent / "files", own.parent / "files"):
        for file in filter(Path.is_file, folder.rglob("*")):
            place_file(file, path.parent / "files" / file.relative_to(folder))
    writer = LogWriter(path)
    writer.append([record.SerializeToString() for record in records])
    writer.close()
    return path


def _without_failure(record: Any) -> Any:
    """Leave out why an attempt failed; the last one says how the run ended."""
    for item in [*record.config.update]:
        if tuple(item.nested_key) == ("trackyard", "failure"):
            record.config.update.remove(item)
    return record


def _numbered(record: Any, least: int) -> tuple[Any, int]:
    """Give a row a number that is free; it keeps the step that it had."""
    number = record.history.step.num
    if number >= least:
        return record, number
    values = items_of(record.history.item)
    values = {STEP: number, **values, "_step": least}
    row = {column: json.dumps(value) for column, value in values.items()}
    return history_record(row, least), least


def _before(id: str, own: Path) -> Path | None:
    known = _attempts(id)
    if str(own) not in known[1:]:
        return None
    before = Path(known[known.index(str(own)) - 1])
    with_others = log_path(before.parents[1] / "joined", id)
    found = with_others if with_others.exists() else before
    return found if found.exists() else None


def _attempts(id: str) -> list[str]:
    try:
        return (home() / "wandb-attempts" / id).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _records(path: Path) -> list[bytes]:
    return [data for data, _ in read_log(path)]
