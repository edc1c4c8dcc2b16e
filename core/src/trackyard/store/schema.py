"""Which tables does the store have, and how does an older store get them without losing data?"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    inspect,
    select,
    text,
)

SCHEMA_VERSION = 3

_metadata = MetaData()

_versions = Table("schema_version", _metadata, Column("version", Integer, nullable=False))

PIPELINE_RUNS = Table(
    "pipeline_runs",
    _metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("pipeline", String(255), nullable=False),
    Column("stack", String(255), nullable=False),
    Column("status", String(16), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("params", Text, nullable=False),
    Index("pipeline_runs_by_time", "started_at"),
)

STEP_RUNS = Table(
    "step_runs",
    _metadata,
    Column("id", String(32), primary_key=True),
    Column("pipeline_run_id", ForeignKey("pipeline_runs.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("error", Text),
    Column("outputs", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    Column("cache_key", String(64)),
    Index("step_runs_by_run", "pipeline_run_id", "name", "attempt", unique=True),
    Index("step_runs_by_cache_key", "cache_key"),
)

# An output was called an artifact once: the names in databases stay.
OUTPUTS = Table(
    "artifacts",
    _metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(767), nullable=False),
    Column("version", Integer, nullable=False),
    Column("uri", Text, nullable=False),
    Column("materializer", String(255), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("step_run_id", ForeignKey("step_runs.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("name", "version"),
    Index("artifacts_by_step_run", "step_run_id"),
)

OUTPUT_READS = Table(
    "artifact_reads",
    _metadata,
    Column("artifact_id", ForeignKey("artifacts.id", ondelete="CASCADE"), primary_key=True),
    Column("step_run_id", ForeignKey("step_runs.id", ondelete="CASCADE"), primary_key=True),
)


def _to_2(connection: Connection) -> None:
    """Versions of outputs, and who reads them."""
    for table in (OUTPUTS, OUTPUT_READS):
        table.create(connection)


def _to_3(connection: Connection) -> None:
    """Steps whose results may be taken again."""
    connection.execute(text("ALTER TABLE step_runs ADD COLUMN cache_key VARCHAR(64)"))
    for index in STEP_RUNS.indexes:
        if index.name == "step_runs_by_cache_key":
            index.create(connection)


# What makes each version out of the one before it.
_MIGRATIONS: dict[int, Callable[[Connection], None]] = {2: _to_2, 3: _to_3}


def read_version(engine: Engine) -> int | None:
    """Give the schema's version; None where it has not been made whole."""
    with engine.connect() as connection:
        return _version(connection)


def bring_up_to_date(connection: Connection) -> None:
    """Create the tables or migrate them, inside a transaction that nobody else is in.

    A store of a newer version is left as it is.
    """
    if connection.dialect.name == "postgresql":
        # Held until the transaction ends; the number is this purpose's own.
        connection.execute(text("SELECT pg_advisory_xact_lock(7236140)"))
    version = _version(connection)
    if version is None:
        _metadata.create_all(connection)
    else:
        for number in range(version + 1, SCHEMA_VERSION + 1):
            _MIGRATIONS[number](connection)
    if version is None or version < SCHEMA_VERSION:
        connection.execute(insert(_versions).values(version=SCHEMA_VERSION))


def _version(connection: Connection) -> int | None:
    if not inspect(connection).has_table(_versions.name):
        return None
    version: int | None = connection.execute(select(func.max(_versions.c.version))).scalar()
    return version
