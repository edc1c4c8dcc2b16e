"""Does what is written to disk change without the number that it bears?

`old_projects/formats/` holds, for each format and number, what is written for fixed values. Such a
file is never changed: after a change the format gets the next number, and a file of its own by

    REFRESH_GOLDEN=1 uv run pytest tests/test_formats_on_disk.py

Then see to it that the older number is still read, and add a project that the version wrote (see
`old_projects/README.md`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import get_args
from uuid import UUID

import attrs
import numpy
import pandas
import pytest
from click.testing import CliRunner

from trackyard import Artifact, Client, Failure, Metric, Param, Run, Tag, start_run
from trackyard.cli.main import cli
from trackyard.console import keeping, lines
from trackyard.console.keeping import Console
from trackyard.delivery import aside, state
from trackyard.journal import descriptions, entries, frames, remains
from trackyard.journal.blobs import Blob
from trackyard.journal.columns import Column
from trackyard.journal.entries import Entry, EntryKind, Holder
from trackyard.journal.writer import JournalWriter
from trackyard.outputs.formats import Materializers
from trackyard.project import configuration
from trackyard.recovery import archives, drivers
from trackyard.redaction.redactor import Redactor
from trackyard.store.databases import StoreError
from trackyard.store.outbox import Outbox, write_owed
from trackyard.store.rows import OutputRow, PipelineRunRow, StepRunRow
from trackyard.store.schema import SCHEMA_VERSION
from trackyard.store.store import Store

OLD = Path(__file__).parent / "old_projects"
ID, STEP_ID = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
FAILURE = Failure("failed", "ValueError", "a\nb", "Traceback", 15)
BLOB = Blob(Path("x"), "ab" * 32, 7)
PIPELINE_RUN = PipelineRunRow(ID, "name", "pipeline", "stack", "running", 1, None, {"rate": 0.5})
STORED = {"uri": "u", "materializer": "json", "size": 2, "sha256": "ab"}
STEP_RUN = StepRunRow(
    *(ID, ID, "name", 1, 0, "finished", 1, 2, "error"),
    outputs={"output": STORED},
    metadata=descriptions.metadata_of({"local": "mlflow"}, {"local": "https://a.example"}),
    metrics={"loss": 0.5},
    cache_key="key",
)
OUTPUT = OutputRow(ID, "name", 1, "uri", "json", 2, "ab", ID, 3)


def of_frames(_: Path) -> Iterator[str]:
    salt = frames.salt_of(ID, "r0-p1-abcd", 1)
    yield from (frames.encode_frame(n, b"{}", salt).decode() for n in (0, 1, 2**40))


def of_entries(root: Path) -> Iterator[str]:
    """Give an entry of each kind, and the header as the writer makes it."""
    artifact = Artifact("plots/loss.png", Path("x"), "image", "image/png", 3, 4)
    given = {
        "metrics": {"loss": 0.5, "nan": float("nan"), "infinite": float("-inf")},
        "params": {"i": 1, "f": 0.5, "b": True, "s": "ä", "none": None, "nan": float("nan")},
        "tags": {"key": "value", "surrogate": "\udc80"},
        "dropped": {"count": 2},
        "context": {"user": "ada", "git": {"commit": "ab"}, "packages": {"a": "1"}},
        "signal": {"number": 15},
        "status": {"status": "killed"},
        "resumed": {"number": 1},
        "end": FAILURE,
    }
    assert {*given, "header", "artifact"} == {*get_args(EntryKind)}
    for kind, data in given.items():
        yield entries.encode_entry(Entry(kind, 1, 2, data)).decode()
    yield entries.encode_entry(Entry("end", 1, None, None)).decode()
    yield entries.encode_artifact(Entry("artifact", 1, None, artifact), BLOB).decode()
    final = attrs.evolve(artifact, is_final=True)
    yield entries.encode_artifact(Entry("artifact", 1, None, final), BLOB).decode()
    yield entries.encode_reference(BLOB).decode()
    parts = [entries.encode_entry(Entry("metrics", 1, 2, {"loss": 0.5}))]
    yield entries.encode_captured(Holder("mlflow", "ab", "row 3", 4), parts).decode()
    columns = [Column("loss", [1, None], [0.5, float("nan")], [2, 3])]
    yield entries.encode_points(Holder("mlflow", "ab", "row 3", 4), columns).decode()
    writer = JournalWriter(root / ID)
    writer.append(Entry("tags", 1, None, {}))
    writer.close()
    (segment,) = (root / ID).glob("*.tyj")
    header = segment.read_text(encoding="utf-8").splitlines()[0].split(" ", 5)[5]
    yield re.sub(r'\d{19}|(?<="pid":)\d+', "0", header)


def of_descriptions(root: Path) -> Iterator[str]:
    run = Run(
        *(ID, "name", "experiment", 1, root),
        pipeline="pipeline",
        step="step",
        attempt=2,
        group=ID,
        parent_id=ID,
        parent_folder=root,
        tags={"key": "value"},
        ended_at=2,
    )
    table = {"flavor": "mlflow", "token": "env:TOKEN", "folder": Path("a"), "tags": ["b"]}
    tracker = descriptions.TrackerDescription("ä b", descriptions.folder_name("ä b"), table, "file")
    stamped = attrs.evolve(tracker, name="own", folder="own", project="PROJECT")
    for resumed in (0, 1):  # a run that was resumed has the higher number
        descriptions.save_description(root, attrs.evolve(run, resumed=resumed), [tracker, stamped])
        text = (root / "run.json").read_text(encoding="utf-8")
        yield re.sub(r'(?<="stamp": ")[0-9a-f]{64}', "SHA256", text)


def of_the_console(root: Path) -> Iterator[str]:
    console = Console(root / "run", Redactor(["hunter2hunter2"]), 1_000_000)
    for stream, text in (("out", "one\n"), ("err", "\r 1/2\r 2/2\n"), ("out", "hunter2hunter2\nx")):
        console.write(stream, text)  # type: ignore[arg-type] # of the two names
    (file,) = (root / "run" / keeping.FOLDER).iterdir()
    for line in file.read_text().split("\n"):
        yield re.sub(r"^[\d-]{10}T[\d:]{8}\.\d{6}Z", "<time>", line)


def of_remains(root: Path) -> Iterator[str]:
    folder = root / "runs" / ID
    folder.mkdir(parents=True)
    tracker = descriptions.TrackerDescription("team", "team", {"flavor": "mlflow"}, "file")
    descriptions.save_description(folder, Run(ID, "name", "experiment", 1, folder), [tracker])
    (folder / "team").mkdir()
    (folder / "team/ids.json").write_text('{"run_id": "ab"}')
    (folder / "team/large.json").write_text("x" * 10_000)
    remains.keep_remains(folder)
    yield (root / "collected" / f"{ID}.json").read_text(encoding="utf-8")


def of_deliveries(root: Path) -> Iterator[str]:
    cursor, plan = {"r0-p1-abcd": 3}, [("r0-p1-abcd", 4)]
    for session in (0, 1):  # likewise
        found = state.DeliveryState(cursor, plan=plan, changes={"cut": 1}, url="u", session=session)
        state.save_state(root, found)
        yield (root / "delivery.json").read_text(encoding="utf-8")
    records = [
        Metric("k", 0.5, 1, 2),
        Param("k", 1),
        Tag("k", "v"),
        Artifact("a", Path("x"), "file"),
    ]
    for record in records:
        state.quarantine(root, record, "it is refused")
    yield from (root / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    waiting = aside.Aside(root, state.DeliveryState())
    for number, record in enumerate(records):
        waiting.add(record, number, "it is too large")
    waiting.number(waiting.waiting[1], 7)
    waiting.settle(waiting.waiting[0])
    yield from filter(None, (root / "aside.jsonl").read_text(encoding="utf-8").splitlines())


class Away:
    """A store that cannot be reached."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*_: object, **__: object) -> None:
            raise StoreError("away")

        return call


def of_drivers(root: Path) -> Iterator[str]:
    project = configuration.Project(root, root)
    mark = drivers.DriverMark(project, ID)
    mark.make([("load", 0), ("train", 1)], {"id": ID})
    outbox = Outbox(Away(), mark.owe)
    outbox.write("add_pipeline_run", PIPELINE_RUN)
    outbox.write("add_step_run", STEP_RUN)
    outbox.write("end_step_run", ID, {"status": "finished"}, [OUTPUT], read=[])
    outbox.write("update_step_run", ID, metadata={"key": "value"})
    outbox.write("update_pipeline_run", ID, status="finished", ended_at=4)
    mark.note_signal(15)
    drivers.note_problem(root, ID, "problem")
    mark.release()
    for file in sorted((root / "drivers").iterdir()):
        text = re.sub(r'(?<="pid": )[0-9]+', "1", file.read_text(encoding="utf-8"))
        text = re.sub(r'(?<="stamp": ")[0-9a-f]{64}', "SHA256", text.replace(str(root), "PROJECT"))
        yield f"{file.name}: {text}"


def of_the_store(root: Path) -> Iterator[str]:
    Store.in_folder(root).close()
    with closing(sqlite3.connect(root / "store.db")) as store:
        for (text,) in store.execute("SELECT sql FROM sqlite_master WHERE sql != '' ORDER BY sql"):
            yield re.sub(r"\s+", " ", text).strip()
    written = Store.in_folder(root)
    written.add_pipeline_run(PIPELINE_RUN)
    written.add_step_run(attrs.evolve(STEP_RUN, id=STEP_ID))
    written.end_step_run(STEP_ID, {"status": "finished"}, [OUTPUT], ["a"])
    tables = written.execute("SELECT name FROM sqlite_master WHERE type = 'table'", {})
    for table in sorted(row["name"] for row in tables):
        for row in written.execute(f"SELECT * FROM {table}", {}):
            yield f"{table}: {json.dumps(row)}"
    written.close()


def of_the_layout(root: Path) -> Iterator[str]:
    """Give the names of what runs leave in `.trackyard/`, as patterns."""
    shutil.copytree(OLD / "project", root, dirs_exist_ok=True)
    for tracker, name in (("ledger", "ended"), ("away", "pending"), ("keeper", "offline")):
        with start_run(name, experiment_tracker=tracker) as run:
            run.log_metrics({"loss": 0.5, "refused": 1.0})
            run.log_text("text", "folder/report.txt")
    result = CliRunner().invoke(cli, ["run", "training.py:training"])
    assert result.exit_code == 0, result.output
    home = root / ".trackyard"
    assert (home / "format").exists() == (configuration.FORMAT > 1)  # written by who raised it
    names = (path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file())
    patterns = {re.sub(r"[0-9a-f]{64}", "SHA256", name) for name in names}
    patterns = {re.sub(r"[0-9a-f]{32}", "ID", name) for name in patterns}
    patterns = {re.sub(r"p\d+-[0-9a-f]{4}", "PROCESS", name) for name in patterns}
    yield from sorted(name for name in patterns if not re.search(r"-(wal|shm)$|\.log$", name))


def of_archives(root: Path) -> Iterator[str]:
    """Give the members of a file for a colleague, and what it says of the runs."""
    with start_run("name", experiment="experiment", experiment_tracker=None) as run:
        run.log_metric("loss", 1)
        run.log_text("note", "note.txt")
    Client().archive_runs(run.id, file=root / "runs.trackyard")
    with zipfile.ZipFile(root / "runs.trackyard") as archive:
        for member in archive.namelist():
            name = re.sub(r"[0-9a-f]{64}", "SHA256", member.replace(run.id, "ID"))
            yield re.sub(r"p\d+-[0-9a-f]{4}", "PROCESS", name)
        index = archive.read("archive.json").decode()
    yield re.sub(r"\d{19}", "0", index.replace(run.id, "ID"))


FORMATS: dict[str, tuple[object, Callable[[Path], Iterator[str]]]] = {
    "frames": (frames.FORMAT, of_frames),
    "entries": (entries.FORMAT, of_entries),
    "descriptions": (descriptions.FORMAT, of_descriptions),
    "deliveries": (state.FORMAT, of_deliveries),
    "drivers": (drivers.FORMAT, of_drivers),
    "store": (SCHEMA_VERSION, of_the_store),
    "console": (lines.FORMAT, of_the_console),
    "remains": (remains.FORMAT, of_remains),
    "archives": (archives.FORMAT, of_archives),
    "layout": (configuration.FORMAT, of_the_layout),
}


@pytest.fixture
def root(tmp_path: Path, own_modules: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty folder the working directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name, value in {
        "XDG_CONFIG_HOME": str(tmp_path / "nothing"),
        "TRACKYARD_ISOLATION": "thread",
        "TRACKYARD_WATCHDOG": "0",
        "TRACKYARD_CONTEXT": "0",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_is_what_its_number_says(name, root):
    number, write = FORMATS[name]
    file = OLD / "formats" / f"{name}-{number}.txt"
    written = "".join(f"{line.rstrip()}\n" for line in write(root))

    known = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    # A file that is new may be passed over by older versions; one that is gone was looked for.
    grows = name == "layout" and {*known} <= {*written.splitlines()}
    if (grows or not known) and os.environ.get("REFRESH_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(written, encoding="utf-8")
    said = "what is written has changed; raise the number, so that older versions say 'newer'"
    assert file.exists(), f"{file.name} is not there; {__doc__}"
    assert written == file.read_text(encoding="utf-8"), f"{name} {number}: {said}; {__doc__}"


@pytest.mark.parametrize("file", sorted((OLD / "formats").glob("drivers-*.txt")), ids=str)
def test_what_a_store_lacked_is_written_by_a_later_version(file, root):
    (mark,) = (line for line in file.read_text(encoding="utf-8").splitlines() if ".json: " in line)
    store = Store.in_folder(root)
    owed = json.loads(mark.partition(": ")[2])["owed"]
    for method, args, _ in owed:  # the file gives both runs one id
        if method == "add_step_run":
            args[0]["values"]["id"] = STEP_ID
        elif "step_run" in method:
            args[0] = STEP_ID
    write_owed(store, owed)

    assert (store.find_pipeline_run(ID).status, store.find_output("name").uri) == (
        "finished",
        "uri",
    )
    assert store.find_step_run(STEP_ID)[0].metadata == {"key": "value"}
    store.close()


SAMPLES = {
    "text": "ä\r\n",
    "json": {"list": [1, 0.5, None, True], "text": "ä"},
    "bytes": b"\x00\xff",
    "values": [
        *((1, "a"), {1}, frozenset({2}), {3: 4}, b"a", bytearray(b"b"), 1 + 2j, Decimal("0.10")),
        *(UUID(int=1), date(2026, 1, 2), datetime(2026, 1, 2, 3, tzinfo=UTC), time(1, 2)),
        *(timedelta(1, 2, 3), Path("a/b"), numpy.float32(0.5)),
    ],
    "numpy": numpy.arange(3, dtype="<i4"),
}
# Of these a library of its own writes the bytes, of which it keeps its own account.
LIBRARIES = {
    *(
        "pandas",
        "polars",
        "polars-series",
        "arrow",
        "pandas-labelled",
        "image",
        "path",
        "cloudpickle",
    ),
}


def test_outputs_of_a_format_are_written_as_its_name_says():
    """The name is the number: `values` that are written otherwise are `values-2`."""
    file = OLD / "formats" / "outputs.json"
    written = {}
    for materializer in Materializers()._all():
        stream = BytesIO()
        if materializer.name in SAMPLES:
            materializer.save(SAMPLES[materializer.name], stream)
        else:
            assert materializer.name in LIBRARIES
        written[materializer.name] = f"{materializer.suffix} {stream.getvalue().hex()}"
    labels = pandas.Series([1.0], index=["x"], name=("a", 1))
    labelled = Materializers().named("pandas-labelled")
    stream = BytesIO()
    labelled.save(labels, stream)
    stream.seek(0)
    written["labels"] = pandas.read_parquet(stream).attrs

    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if os.environ.get("REFRESH_GOLDEN"):
        file.write_text(json.dumps(written | known, indent=1) + "\n", encoding="utf-8")
        known = written | known
    assert written == known, f"what is written has changed: give it a new name; {__doc__}"
