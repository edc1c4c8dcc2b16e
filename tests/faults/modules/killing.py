"""Kill processes that log, at random points: a program, and the check of what it left behind.

    python killing.py FOLDER KILLS SEED AT_ONCE TRACKING_URI...

It imports MLflow once and forks the rest: processes that log from four threads, and for each a
watchdog, which does what Trackyard's does with everything imported. After each call that returned
a process notes its number in shared memory. A line of JSON tells of each kill.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

from trackyard.journal.reader import JournalReader

THREADS = 4
_NUMBER = struct.Struct("<Q")


def killed(folder: Path, uris: list[str], kills: int, seed: int, at_once: int = 3) -> list[Any]:
    """Kill so many processes, whose trackers take turns, and give what was told of each."""
    folder.mkdir(parents=True)
    own = {"TRACKYARD_ISOLATION": "thread", "TRACKYARD_WATCHDOG": "0", "TRACKYARD_PROGRESS": "0"}
    own["TRACKYARD_CONTEXT"] = "0"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COV", "TRACKYARD_"))}
    arguments = [str(folder), str(kills), str(seed), str(at_once), *uris]
    process = subprocess.run(
        [sys.executable, __file__, *arguments],
        env={**kept, **own, "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60 + 20 * kills,
    )
    results = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(results) == kills, process.stdout
    return results


def problems_of(result: Any, database: Path) -> list[str]:
    """Compare what was noted with the journal, and the journal with MLflow's database."""
    name, noted = result["name"], result["noted"]
    runs = Path(result["project"], ".trackyard", "runs")
    folders = list(runs.iterdir()) if runs.is_dir() else []
    if not folders:
        return [f"{name}: no run, and {noted} were noted"] if any(noted) else []
    (folder,) = folders
    reader = JournalReader(folder)
    entries = [entry for _, entry in reader.read(10**7) if entry.kind == "metrics"]
    problems = [f"{name}: {reader.lost} are damaged"] if reader.lost else []
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        query = "select run_uuid from tags where key = 'trackyard.run_id' and value = ?"
        found = connection.execute(query, (folder.name,)).fetchall()
        if len(found) != 1:
            pending = folder.parents[1] / "pending" / folder.name
            if not found and not any(noted) and not pending.exists():
                return []  # killed before any tracker was asked
            return [f"{name}: MLflow has it {len(found)} times"]
        status = connection.execute("select status from runs where run_uuid = ?", found[0])
        if (word := status.fetchone()[0]) != "FAILED":
            problems.append(f"{name}: MLflow says {word}")
        query = "select key, value from metrics where run_uuid = ?"
        stored = sorted(connection.execute(query, found[0]).fetchall())
    for thread, count in enumerate(noted):
        values = [entry.data[f"t{thread}"] for entry in entries if f"t{thread}" in entry.data]
        if values != list(range(len(values))) or len(values) < count:
            problems.append(f"{name}: {count} were noted, {len(values)} are in the journal")
    journaled = sorted(pair for entry in entries for pair in entry.data.items())
    if stored != journaled:
        problems.append(f"{name}: {len(journaled)} are in the journal, {len(stored)} in MLflow")
    if result["seconds"] > 10:
        problems.append(f"{name}: its end came {result['seconds']:.1f} s after its death")
    return problems


def main() -> None:
    """Have processes killed, some at a time."""
    import mlflow  # noqa: F401 - before the first fork, like all that follows
    from mlflow.store.tracking import rest_store, sqlalchemy_store  # noqa: F401

    import trackyard_mlflow.backend
    import trackyard_mlflow.tracker  # noqa: F401

    folder, kills, seed, at_once, *uris = sys.argv[1:]
    lanes = []
    for lane in range(int(at_once)):
        process = os.fork()
        if process == 0:
            for number in range(lane, int(kills), int(at_once)):
                generator = random.Random(f"{seed}-{number}")
                kill_one(Path(folder), number, uris[number % len(uris)], generator)
            os._exit(0)
        lanes.append(process)
    for process in lanes:
        assert os.waitpid(process, 0)[1] == 0


def kill_one(folder: Path, number: int, tracking_uri: str, generator: random.Random) -> None:
    """Have one process log, kill it, wait for its watchdog, and tell of it."""
    project = folder / f"{number:03}"
    project.mkdir()
    text = f'[experiment_trackers.local]\nflavor = "mlflow"\ntracking_uri = "{tracking_uri}"\n'
    (project / "trackyard.toml").write_text(text)
    os.chdir(project)
    shared = mmap.mmap(-1, THREADS * _NUMBER.size)
    way = generator.choice(["itself", "while it starts", "while it logs", "while it logs"])
    own = generator.randrange(1, 200) if way == "itself" else None
    victim = forked(log_until_killed, project.name, shared, own, generator.random())
    watchdog = forked(watch, victim, project)
    if own is None:
        while way == "while it logs" and not any(shared[: _NUMBER.size]):
            time.sleep(0.001)
        time.sleep(generator.uniform(0, 0.6))
        os.kill(victim, signal.SIGKILL)
    _, ending = os.waitpid(victim, 0)
    begun = time.monotonic()
    ended, recovery = 0.0, None
    while recovery is None:
        finished, code = os.waitpid(watchdog, os.WNOHANG)
        if not ended and (finished or has_end(project)):
            ended = time.monotonic() - begun
        recovery = code if finished else None
        time.sleep(0.02)
    noted = [_NUMBER.unpack_from(shared, thread * _NUMBER.size)[0] for thread in range(THREADS)]
    whole = time.monotonic() - begun
    noted[0] = max(noted[0], (own or -1) + 1)  # the call before the kill has returned, too
    assert (ending, recovery) == (signal.SIGKILL, 0), (way, ending, recovery)
    told = {"name": f"{number} ({way})", "project": str(project), "uri": tracking_uri}
    line = json.dumps({**told, "noted": noted, "seconds": ended, "whole": whole}) + "\n"
    os.write(1, line.encode())  # in one piece: other lanes write there, too


def has_end(project: Path) -> bool:
    """Tell whether MLflow has taken the run's end; records may follow it."""
    notes = project.glob(".trackyard/runs/*/*/delivery.json")
    return any(json.loads(note.read_text())["is_end_sent"] for note in notes)


def forked(function: Any, *arguments: Any) -> int:
    """Call a function in a child."""
    process = os.fork()
    if process == 0:
        try:
            function(*arguments)
            os._exit(0)
        finally:
            os._exit(1)
    return process


def log_until_killed(name: str, shared: mmap.mmap, own: int | None, pace: float) -> None:
    """Log from four threads; with `own`, kill the process in the statement after that call."""
    from trackyard import start_run

    def work(thread: int) -> None:
        generator = random.Random(thread)
        place = slice(thread * _NUMBER.size, (thread + 1) * _NUMBER.size)
        count = 0
        while True:
            run.log_metric(f"t{thread}", count, count)
            if thread == 0 and count == own:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            shared[place] = _NUMBER.pack(count)
            if generator.random() < 0.5:
                time.sleep(generator.uniform(0, 0.004 * pace))

    with start_run(name) as run:
        for thread in range(1, THREADS):
            Thread(target=work, args=(thread,), daemon=True).start()
        work(0)


def watch(process: int, project: Path) -> None:
    """Do what a watchdog does, in a process that has imported everything."""
    from trackyard.project.configuration import find_project
    from trackyard.recovery import watchdog
    from trackyard.recovery.finishing import sync_all

    reading, writing = os.pipe()
    os.dup2(reading, 0)
    os.write(writing, f"{project}\n".encode())
    os.close(writing)
    for root in watchdog.wait_for_death(process):
        sync_all(find_project(Path(root)), patience=watchdog.PATIENCE)


if __name__ == "__main__":
    main()
