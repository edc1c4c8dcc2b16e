"""What does a team of 500 put on one PostgreSQL and one MLflow server, by a load of a fiftieth?

    uv run benchmarks/team_load.py [--minutes 10] [--write]

Ten people, each a process that starts one pipeline after the other, share a store in PostgreSQL and
a tracker on `mlflow server`, which are real and on this machine. Counted are rows, bytes,
connections, heartbeats and requests; scaled they are what `docs/scale.md` says, which `--write`
writes. Needs PostgreSQL's programs: `apt-get install postgresql`. Exit code 1 says that a run is
missing in MLflow, or that there were more connections than PostgreSQL takes by default.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

import attrs
import psycopg

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
# The team, and what of it the load is.
TEAM, SHARE, HOURS = 500, 50, 8
PIPELINES_A_DAY, STEPS, POINTS = 20, 4, 1000
STEP_MINUTES = 5
MOST_CONNECTIONS = 100  # PostgreSQL's default

PROGRAM = """
import sys, time
from trackyard import log_metric, log_param, log_text, pipeline, step

@step(experiment_tracker="team")
def work(number: int) -> int:
    for key in ("rate", "depth", "seed"):
        log_param(key, number)
    for at in range({points}):
        log_metric(f"loss{{at % 5}}", at / 7, step=at // 5)
    log_text("x" * 10_000, "report.txt")
    time.sleep({pause})
    return number + 1

@pipeline
def day() -> None:
    number = 0
    for _ in range({steps}):
        number = work(number)

until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    day()
    print("done", flush=True)
    time.sleep({pause})
"""
CONFIGURATION = """
store = "{store}"
active_stack = "team"

[experiment_trackers.team]
flavor = "mlflow"
tracking_uri = "{server}"
start_timeout = 120
flush_timeout = 120

[stacks.team]
experiment_trackers = ["team"]
"""


@attrs.define
class Count:
    """What was counted while the load ran.

    Attributes:
        pipelines: Pipeline runs that ended.
        minutes: How long the load ran.
        rows: Rows in Trackyard's tables by table, and `MLflow's` for all of MLflow's.
        store_bytes, mlflow_bytes: How much more the databases are.
        connections: The most at once, to the store and to MLflow's database.
        beats: Updates of rows in the table of runs.
        requests: What the MLflow server was asked.
    """

    pipelines: int = 0
    minutes: float = 0.0
    rows: dict[str, int] = attrs.field(factory=dict)
    store_bytes: int = 0
    mlflow_bytes: int = 0
    connections: dict[str, int] = attrs.field(factory=dict)
    beats: int = 0
    requests: int = 0


def free_port() -> int:
    """Give a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def program(command: Sequence[str], log: Path, **options: object) -> Iterator[None]:
    """Run a server while in the block."""
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, **options)
        try:
            yield
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Serve an empty PostgreSQL; give the beginning of its databases' URLs."""
    places = [*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.get_exec_path())]
    found = [place for place in places if (place / "initdb").is_file()]
    if not found:
        raise SystemExit("no PostgreSQL is installed; type: apt-get install postgresql")
    # A folder of its own: PostgreSQL refuses to run as root, and wants to own it.
    data = Path(tempfile.mkdtemp(prefix="trackyard-postgresql-"))
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(data, "postgres")
    port = free_port()
    making = [
        *user,
        str(found[0] / "initdb"),
        "-D",
        f"{data}/data",
        "-A",
        "trust",
        "-U",
        "team",
        "--no-sync",
    ]
    subprocess.run(making, check=True, capture_output=True, cwd=data)
    settings = ["-c", "fsync=off", "-c", f"port={port}", "-c", "listen_addresses=127.0.0.1"]
    settings += ["-c", f"unix_socket_directories={data}"]
    command = [*user, str(found[0] / "postgres"), "-D", f"{data}/data", *settings]
    try:
        with program(command, folder / "postgresql.log", cwd=data):
            url = f"postgresql://team@127.0.0.1:{port}"
            wait_for(lambda: psycopg.connect(f"{url}/postgres").close())
            yield url
    finally:
        shutil.rmtree(data, ignore_errors=True)


def wait_for(call: object, seconds: float = 180.0) -> None:
    """Call something until it raises no more."""
    until = time.monotonic() + seconds
    while True:
        try:
            call()  # type: ignore[operator]
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
        else:
            return


@contextmanager
def mlflow_server(folder: Path, database: str) -> Iterator[str]:
    """Serve MLflow on a database; give its address."""
    port = free_port()
    store = database.replace("postgresql://", "postgresql+psycopg://")
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store, "--artifacts-destination", str(folder / "files")]
    with program(command, folder / "mlflow.log"):
        log = folder / "mlflow.log"
        try:
            wait_for(lambda: socket.create_connection(("127.0.0.1", port), 2).close(), 300)
        except OSError:
            raise SystemExit(f"the MLflow server did not start:\n{log.read_text()}") from None
        yield f"http://127.0.0.1:{port}"


def asked(url: str, statement: str) -> list[tuple[object, ...]]:
    """Ask a database."""
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()  # type: ignore[arg-type]


def size_of(url: str) -> int:
    """Give a database's bytes."""
    ((size,),) = asked(url, "SELECT pg_database_size(current_database())")
    return int(str(size))


def rows_in(url: str) -> dict[str, int]:
    """Give the rows of each table that has some."""
    tables = asked(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    counts = {str(name): asked(url, f'SELECT count(*) FROM "{name}"')[0][0] for (name,) in tables}
    return {name: int(str(count)) for name, count in counts.items() if count}


def watch(url: str, count: Count, stopping: Event) -> None:
    """Note the most connections that each database has, four times a second."""
    statement = (
        "SELECT datname, count(*) FROM pg_stat_activity WHERE datname IN ('store', 'mlflow') "
        "AND pid <> pg_backend_pid() GROUP BY datname"
    )
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        while not stopping.wait(0.25):
            for name, number in connection.execute(statement).fetchall():
                count.connections[name] = max(count.connections.get(name, 0), number)


def load(folder: Path, url: str, minutes: float) -> Count:
    """Have the people work, and count."""
    for name in ("store", "mlflow"):
        with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
    count, stopping = Count(minutes=minutes), Event()
    with mlflow_server(folder, f"{url}/mlflow") as server:
        configured = CONFIGURATION.format(store=f"{url}/store", server=server)
        text = PROGRAM.format(points=POINTS, steps=STEPS, pause=15)
        first = person(folder / "first", configured, text, 0.0)  # makes the tables
        if first.wait():
            raise SystemExit((folder / "first" / "errors.txt").read_text())
        before = {name: size_of(f"{url}/{name}") for name in ("store", "mlflow")}
        watching = Thread(target=watch, args=(url, count, stopping), daemon=True)
        watching.start()
        seconds = minutes * 60
        people = [
            person(folder / f"person{number}", configured, text, seconds)
            for number in range(TEAM // SHARE)
        ]
        for one in people:
            output, _ = one.communicate()
            if one.returncode:
                raise SystemExit(f"{one.args}: ended with {one.returncode}")
            count.pipelines += output.count("done")
        stopping.set()
        watching.join()
        count.store_bytes = size_of(f"{url}/store") - before["store"]
        count.mlflow_bytes = size_of(f"{url}/mlflow") - before["mlflow"]
        count.rows = rows_in(f"{url}/store")
        count.rows["MLflow's"] = sum(rows_in(f"{url}/mlflow").values())
        statement = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'runs'"
        time.sleep(1.5)  # PostgreSQL's own counts are late
        count.beats = int(str(asked(f"{url}/store", statement)[0][0]))
        found = asked(f"{url}/mlflow", "SELECT count(*) FROM runs WHERE status = 'FINISHED'")
        count.requests = (folder / "mlflow.log").read_text(errors="replace").count(" HTTP/1.1")
    finished = int(str(found[0][0]))
    wanted = (count.pipelines + 1) * (STEPS + 1)  # with the pipeline's own
    print(f"{finished} of {wanted} runs stand finished in MLflow")
    if finished < wanted:
        raise SystemExit(1)
    return count


def person(folder: Path, configured: str, text: str, seconds: float) -> subprocess.Popen[str]:
    """Start somebody's work, in a project of their own with the team's store."""
    folder.mkdir()
    (folder / "trackyard.toml").write_text(configured, encoding="utf-8")
    (folder / "work.py").write_text(text, encoding="utf-8")
    environment = {**os.environ, "TRACKYARD_PROGRESS": "0", "TRACKYARD_STACK": "team"}
    return subprocess.Popen(
        [sys.executable, "work.py", str(max(seconds, 0.01))],
        cwd=folder,
        env={**environment, "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.PIPE,
        stderr=(folder / "errors.txt").open("w"),
        text=True,
    )


def estimates() -> dict[str, float]:
    """Give what one expects of a pipeline run without measuring, by what it is of."""
    kept = (
        3 + 5 + 5 + 1 + 1 + 1 + 1
    )  # params, last values, curves, file, tracker, output, its reader
    return {
        "rows": 1 + STEPS * (1 + kept),
        # 0.3 kB a row with its indexes, and 2 kB of each curve.
        "bytes": STEPS * (kept * 300 + 5 * 2000),
        # Of each step all points, 5 last values, 3 params and 15 tags.
        "rows there": STEPS * (1 + POINTS + 5 + 3 + 15) + 20,
        "bytes there": STEPS * POINTS * 250,  # a point with its index
        "connections": 2.0,  # of a process: its driver's, and that of its signs of life
        # Run, points, tags, end and file of each step.
        "requests": STEPS * 8 + 8,
    }


def report(count: Count) -> list[str]:
    """Give what was estimated, what was counted, and what that makes for the team, as rows."""
    a_day = TEAM * PIPELINES_A_DAY
    at_once = a_day * STEPS * STEP_MINUTES / (HOURS * 60)  # a driver each
    done = count.pipelines
    beats = f"{count.beats / (done + 1):.0f}", f"{at_once / 30:.0f} a second are heartbeats"
    rows = [
        ("pipeline runs", "", f"{done}", f"{a_day:,} a day"),
        ("step runs", "", f"{done * STEPS}", f"{a_day * STEPS:,} a day"),
        ("steps at once", "", f"{TEAM // SHARE}", f"{at_once:.0f} in the mean of a day"),
        *_of_databases(count, a_day),
        *_of_connections(count, at_once),
        ("updates of the store's runs", "", *beats),
    ]
    return [f"| {' | '.join(row)} |" for row in rows]


def _of_databases(count: Count, a_day: int) -> Iterator[tuple[str, ...]]:
    """Give the rows of the table on what is kept, and on the requests that bring it."""
    done, expected = count.pipelines, estimates()
    ours = sum(number for name, number in count.rows.items() if name != "MLflow's")
    kinds = {
        "rows in the store": (expected["rows"], ours / (done + 1)),
        "rows in MLflow's database": (expected["rows there"], count.rows["MLflow's"] / (done + 1)),
    }
    for name, (thought, found) in kinds.items():
        yield name, f"{thought:,.0f}", f"{found:,.0f}", f"{found * a_day / 1e6:,.1f} million a day"
    sizes = {
        "bytes in the store": (expected["bytes"], count.store_bytes / done),
        "bytes in MLflow's database": (expected["bytes there"], count.mlflow_bytes / done),
    }
    for name, (thought, found) in sizes.items():
        each = f"{thought / 1e3:,.0f} kB", f"{found / 1e3:,.0f} kB"
        yield name, *each, f"{found * a_day / 1e9:,.1f} GB a day"
    thought, found = expected["requests"], count.requests / (done + 1)
    rate = f"{found * a_day / (HOURS * 3600):,.0f} a second"
    yield "requests to the MLflow server", f"{thought:.0f}", f"{found:.0f}", rate


def _of_connections(count: Count, at_once: float) -> Iterator[tuple[str, ...]]:
    """Give the rows of the table on connections."""
    thought, found = estimates()["connections"], count.connections.get("store", 0)
    of_one = found / (TEAM // SHARE)
    for_team = f"{of_one * at_once:,.0f} with all steps of the mean"
    yield "connections to the store, of a process", f"{thought:g}", f"{of_one:g} at most", for_team
    most = f"{count.connections.get('mlflow', 0)} at most"
    always = "the same, however many clients there are"
    yield "connections of the MLflow server", "15 a worker", most, always


def page(rows: list[str], count: Count) -> str:
    """Give the paper."""
    where = f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()}, {os.cpu_count()} cores, "
    where += f"load {os.getloadavg()[1]:.0f}"
    rate = count.pipelines / count.minutes / (TEAM * PIPELINES_A_DAY / SHARE / (HOURS * 60))
    return f"""# A team of {TEAM}

What do {TEAM} people put on one PostgreSQL, which is their store, and on one MLflow server?
Written by `uv run benchmarks/team_load.py --write`, which has a fiftieth of them work; do not edit.

## Who works how

Each starts {PIPELINES_A_DAY} pipeline runs in a day of {HOURS} hours, of {STEPS} steps.
A step takes {STEP_MINUTES} minutes, logs 3 params, {POINTS:,} points in 5 metrics and a file of 10 kB.
In the load nobody waits that long: a step takes seconds, so that {TEAM // SHARE} people had {rate:.0f} times as many runs a minute as a fiftieth of the team.

## What was counted

{TEAM // SHARE} people for {count.minutes:g} minutes, with PostgreSQL, MLflow and all of them on one machine: {where}.
Estimate and count are of one pipeline run, where the row does not say otherwise.

| | estimated | counted | for the team |
|---|---|---|---|
{chr(10).join(rows)}

Every run stood finished in MLflow when the load had ended.

## What follows

* **Connections come first.** PostgreSQL takes {MOST_CONNECTIONS} by default, and a process that has a run holds its own while it works.
  Where more run at once than that, raise `max_connections`; a pooler such as PgBouncer before it was not tried.
* **Heartbeats are few.** A process tells the store once in 30 seconds that its runs live, by one statement for all of them.
* **MLflow's database holds the points**, and grows fastest: the store keeps of each metric what lists and curves show.
  Rows are more than was estimated, since a pipeline's own run repeats what its steps logged last.
  `mlflow gc` deletes there what somebody has deleted in MLflow, `trackyard gc` old runs' folders.
* **The MLflow server is asked in batches** of up to a thousand points, by one worker a process.
  Where it is slow or away the steps go on, and what they logged waits in their projects.
"""  # noqa: E501 - a page has one sentence a line


def main() -> int:
    """Have the load run, print the table, and give 1 where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--write", action="store_true", help="write docs/scale.md")
    asked_for = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        postgresql(Path(name)) as url,
    ):
        count = load(Path(name), url, asked_for.minutes)
    if not count.pipelines:
        raise SystemExit("no pipeline run came to its end")
    rows = report(count)
    print("\n".join(rows))
    if asked_for.write:
        PAGE.write_text(page(rows, count), encoding="utf-8")
    return int(max(count.connections.values(), default=0) > MOST_CONNECTIONS)


if __name__ == "__main__":
    sys.exit(main())
