"""What was written is there, whatever happens to the process next."""

from __future__ import annotations

import math
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given, strategies as st

from trackyard.journal.entries import Entry
from trackyard.journal.reader import JournalReader, is_alive
from trackyard.journal.writer import JournalWriter


def metric(number: int, key: str = "loss") -> Entry:
    return Entry("metrics", 1_700_000_000_000_000_000, number, {key: float(number)})


def read_all(folder: Path) -> list[Entry]:
    reader = JournalReader(folder)
    entries = [entry for _, entry in reader.read(10**7) if entry.kind != "header"]
    assert reader.lost == 0
    return entries


@pytest.fixture(params=["mapped", "written"])
def way(request, monkeypatch):
    """Both ways of writing: into a memory map, and with one `os.write` per record."""
    if request.param == "written":
        monkeypatch.delattr(os, "posix_fallocate")
    return request.param


def in_a_process(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, which coverage does not watch.

    Its tracer takes a lock of its own on the lines that these tests interrupt and fork in.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    program = "from trackyard.journal.entries import Entry\n"
    program += "from trackyard.journal.writer import JournalWriter\n" + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


def test_what_is_written_is_read(tmp_path, way):
    writer = JournalWriter(tmp_path / "run")
    entries = [metric(number) for number in range(5000)]
    for entry in entries:
        writer.append(entry)

    assert read_all(tmp_path / "run") == entries
    writer.close()
    assert read_all(tmp_path / "run") == entries
    assert writer.dropped == 0


def test_nothing_is_made_before_the_first_entry(tmp_path):
    JournalWriter(tmp_path / "run").close()

    assert list(tmp_path.iterdir()) == []


def test_files_and_folder_are_private(tmp_path):
    os.umask(os.umask(0))  # whatever the umask is
    writer = JournalWriter(tmp_path / "run")
    writer.append(metric(1))
    writer.close()

    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").iterdir()} == {0o600}


def test_a_closed_segment_takes_no_more_room_than_its_entries(tmp_path):
    writer = JournalWriter(tmp_path / "run")
    writer.append(metric(1))
    writer.close()
    (segment,) = (tmp_path / "run").glob("*.tyj")

    assert segment.stat().st_size < 400
    assert not segment.read_bytes().endswith(b"\0")


def test_an_entry_larger_than_a_segment_fits(tmp_path, way):
    entry = Entry("params", 1, None, {"long": "x" * 3_000_000})
    writer = JournalWriter(tmp_path / "run")
    for e in (metric(1), entry, metric(2)):
        writer.append(e)
    writer.close()

    assert read_all(tmp_path / "run") == [metric(1), entry, metric(2)]


def test_threads_share_a_writer(tmp_path, way):
    writer = JournalWriter(tmp_path / "run")

    def work(key: str) -> None:
        for number in range(2000):
            writer.append(metric(number, key))

    threads = [Thread(target=work, args=(f"thread {index}",)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = read_all(tmp_path / "run")

    assert len(entries) == 16_000
    for index in range(8):
        key = f"thread {index}"
        assert [e.step for e in entries if key in e.data] == list(range(2000))


def test_a_process_that_kills_itself_in_the_next_statement_loses_nothing(tmp_path, way):
    code = f"""
        import os, signal, sys
        from pathlib import Path
        if {way!r} == "written":
            del os.posix_fallocate
        writer = JournalWriter(Path(sys.argv[1]))
        for number in range(int(sys.argv[2])):
            writer.append(Entry("metrics", 1, number, {{"loss": 1.0}}))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    for count in (1, 2, 777, 3000):
        folder = tmp_path / str(count)
        process = in_a_process(code, str(folder), str(count))

        assert process.returncode == -signal.SIGKILL
        assert [entry.step for entry in read_all(folder)] == list(range(count))
        assert not is_alive(folder)


def test_a_process_that_is_killed_at_any_moment_loses_nothing_that_returned(tmp_path):
    """Four threads say each number once its call has returned; the kill comes at random."""
    code = """
        import os, sys
        from pathlib import Path
        from threading import Thread
        writer = JournalWriter(Path(sys.argv[1]))
        def work(thread):
            said = os.open(f"{sys.argv[1]}.said-{thread}", os.O_WRONLY | os.O_CREAT)
            for number in range(10**9):
                writer.append(Entry("metrics", thread, number, {"loss": 1.0}))
                os.pwrite(said, b"%d" % number, 0)
        threads = [Thread(target=work, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
    """
    program = "from trackyard.journal.entries import Entry\n"
    program += "from trackyard.journal.writer import JournalWriter\n" + textwrap.dedent(code)
    for trial in range(8):
        folder = tmp_path / str(trial)
        process = subprocess.Popen([sys.executable, "-c", program, str(folder)])
        wait_until(lambda folder=folder: (Path(f"{folder}.said-3")).exists())
        time.sleep(0.013 * trial)
        process.kill()
        process.wait(60)
        entries = read_all(folder)
        for thread in range(4):
            said = int(Path(f"{folder}.said-{thread}").read_text() or -1)
            found = [entry.step for entry in entries if entry.timestamp == thread]
            assert found[: said + 1] == list(range(said + 1))
            assert found == list(range(len(found)))


def wait_until(fact, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def test_a_forked_child_writes_a_file_of_its_own(tmp_path):
    writer = JournalWriter(tmp_path / "run")
    writer.append(metric(1))
    child = os.fork()
    if child == 0:
        writer.append(metric(2))
        os._exit(0)
    os.waitpid(child, 0)
    writer.append(metric(3))
    writer.close()

    assert sorted(entry.step for entry in read_all(tmp_path / "run")) == [1, 2, 3]
    assert len(list((tmp_path / "run").glob("*.tyj"))) == 2


@pytest.mark.slow
def test_a_fork_while_another_thread_writes_leaves_no_lock_behind(tmp_path):
    code = """
        import os, signal, sys
        from pathlib import Path
        from threading import Thread
        writer = JournalWriter(Path(sys.argv[1]))
        # Threads change places often, hence in the middle of an entry, and no fork waits for long.
        sys.setswitchinterval(0.0001)
        stop = []
        def work():
            number = 0
            while not stop:
                writer.append(Entry("metrics", 1, number, {"parent": 1.0}))
                number += 1
        thread = Thread(target=work)
        thread.start()
        statuses = []
        for number in range(30):
            child = os.fork()
            if child == 0:
                signal.alarm(30)  # a child that waits for ever for the lock is ended by this
                writer.append(Entry("metrics", 1, number, {"child": 1.0}))
                os._exit(0)
            statuses.append(os.waitpid(child, 0)[1])
        stop.append(True)
        thread.join()
        print(set(statuses))
    """
    process = in_a_process(code, str(tmp_path / "run"))

    assert process.stdout == "{0}\n", process.stderr
    found = [entry.step for entry in read_all(tmp_path / "run") if "child" in entry.data]
    assert sorted(found) == list(range(30))


def test_a_child_that_outlives_its_killed_parent_does_not_keep_it_alive(tmp_path):
    code = """
        import os, signal, sys, time
        from pathlib import Path
        writer = JournalWriter(Path(sys.argv[1]))
        writer.append(Entry("metrics", 1, 1, {"loss": 1.0}))
        child = os.fork()
        if child == 0:
            os.close(1), os.close(2)
            time.sleep(20)
            os._exit(0)
        print(child, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    process = in_a_process(code, str(tmp_path / "run"))
    child = int(process.stdout)
    try:
        os.kill(child, 0)  # it lives
        assert not is_alive(tmp_path / "run")
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_every_kind_may_write(tmp_path, method):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
        import multiprocessing, sys
        from pathlib import Path
        from trackyard.journal.entries import Entry
        from trackyard.journal.writer import JournalWriter

        def write_one(folder, number):
            writer = JournalWriter(Path(folder))
            writer.append(Entry("metrics", 1, number, {"loss": 1.0}))
            writer.close()

        if __name__ == "__main__":
            context = multiprocessing.get_context(sys.argv[2])
            children = [
                context.Process(target=write_one, args=(sys.argv[1], number)) for number in range(3)
            ]
            for child in children:
                child.start()
            for child in children:
                child.join()
        """)
    )
    command = [sys.executable, str(program), str(tmp_path / "run"), method]
    subprocess.run(command, check=True, timeout=60)

    assert sorted(entry.step for entry in read_all(tmp_path / "run")) == [0, 1, 2]


def test_a_signal_handler_that_logs_neither_hangs_nor_spoils_a_frame(tmp_path):
    code = """
        import signal, sys, time
        from pathlib import Path
        writer = JournalWriter(Path(sys.argv[1]))
        handled = []
        def handler(*_):
            handled.append(True)
            writer.append(Entry("metrics", 1, len(handled), {"handler": 1.0}))
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        count = 0
        while len(handled) < 200:
            writer.append(Entry("metrics", 1, count, {"loss": 1.0}))
            count += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(count, len(handled))
    """
    process = in_a_process(code, str(tmp_path / "run"))
    count, handled = map(int, process.stdout.split())
    entries = read_all(tmp_path / "run")

    assert [e.step for e in entries if "loss" in e.data] == list(range(count))
    assert sum("handler" in e.data for e in entries) == handled >= 200


def test_a_control_c_between_two_statements_costs_no_entry_that_returned(tmp_path):
    code = """
        import signal, sys, time
        from pathlib import Path
        writer = JournalWriter(Path(sys.argv[1]))
        armed, returned, number, interrupts = [], [], 0, 0
        def interrupt(*_):
            if armed and interrupts < 200:  # none while the loop is being left
                armed.clear()
                raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
        while interrupts < 200:
            try:
                armed.append(True)
                while True:
                    number += 1
                    writer.append(Entry("metrics", 1, number, {"loss": 1.0}))
                    returned.append(number)
            except KeyboardInterrupt:
                interrupts += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(interrupts, *returned)
    """
    process = in_a_process(code, str(tmp_path / "run"))
    interrupts, *returned = map(int, process.stdout.split())
    found = [entry.step for entry in read_all(tmp_path / "run")]

    assert interrupts == 200
    assert set(returned) <= set(found)
    assert len(found) == len(set(found))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root and the right to mount")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_costs_counted_entries_and_neither_the_step_nor_the_end(small_disk, caplog):
    writer = JournalWriter(small_disk / "run")
    for number in range(10_000):
        writer.append(metric(number))
    end = Entry("end", 1, None, None)
    writer.end(end)
    writer.close()
    entries = read_all(small_disk / "run")

    assert writer.dropped > 0
    assert [e.step for e in entries if e.kind == "metrics"] == list(range(10_000 - writer.dropped))
    assert [e.data for e in entries if e.kind == "dropped"] == [{"count": writer.dropped}]
    assert entries[-1] == end
    assert "No space left" in caplog.text


def test_a_disk_that_has_room_again_is_used_again(small_disk, caplog):
    (small_disk / "filler").write_bytes(b"x" * 250 * 1024)
    writer = JournalWriter(small_disk / "run")
    writer.append(metric(1))
    assert writer.dropped == 1
    (small_disk / "filler").unlink()

    def writes_again() -> bool:
        writer.append(metric(2))
        return any(small_disk.glob("run/*.tyj"))

    wait_until(writes_again)
    writer.append(metric(3))
    writer.close()

    last, note = read_all(small_disk / "run")[-2:]
    assert last == metric(3)
    assert (note.kind, note.data) == ("dropped", {"count": writer.dropped})


def test_a_folder_that_cannot_be_made_costs_counted_entries(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    writer = JournalWriter(tmp_path / "file" / "run")
    writer.append(metric(1))
    writer.end(Entry("end", 1, None, None))
    writer.close()

    assert writer.dropped >= 2
    assert "records are lost" in caplog.text


def test_a_folder_that_is_deleted_meanwhile_costs_counted_entries(tmp_path):
    writer = JournalWriter(tmp_path / "run")
    writer.append(metric(1))
    shutil.rmtree(tmp_path / "run")
    for number in range(3000):
        writer.append(metric(number))
    writer.close()

    reader = JournalReader(tmp_path / "run")
    found = [entry.step for _, entry in reader.read(10**6) if entry.kind != "header"]

    assert found == list(range(3000 - len(found), 3000))
    assert 0 < reader.lost <= 3002 - len(found)


def test_fork_counts_only_what_it_dropped_itself(small_disk):
    (small_disk / "filler").write_bytes(b"x" * 250 * 1024)
    writer = JournalWriter(small_disk / "run")
    writer.append(metric(1))
    (small_disk / "filler").unlink()
    child = os.fork()
    if child == 0:
        writer.append(metric(2))
        writer.close()
        os._exit(writer.dropped)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    writer.close()
    notes = [entry.data for entry in read_all(small_disk / "run") if entry.kind == "dropped"]
    assert notes == [{"count": 1}]


def test_too_many_open_files_cost_counted_entries(tmp_path, caplog):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    writer = JournalWriter(tmp_path / "run")
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            writer.append(metric(1))
    finally:
        for file in held:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    writer.close()

    assert writer.dropped == 1
    assert "Too many open files" in caplog.text


@given(
    st.dictionaries(st.text(), st.floats(), min_size=1, max_size=5),
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 2**62),
)
def test_the_quick_call_writes_what_the_other_writes(metrics, step, timestamp):
    with tempfile.TemporaryDirectory() as folder:
        writer = JournalWriter(Path(folder) / "run")
        are_finite = all(map(math.isfinite, metrics.values()))
        writer.append_metrics(timestamp, step, metrics, are_finite)
        writer.append(Entry("metrics", timestamp, step, metrics))
        for key, number in metrics.items():
            writer.append_metric(timestamp, step, key, number)
        writer.close()
        quick, other, *single = read_all(Path(folder) / "run")

    assert repr(quick) == repr(other) == repr(Entry("metrics", timestamp, step, metrics))
    assert repr(single) == repr(
        [Entry("metrics", timestamp, step, {key: number}) for key, number in metrics.items()]
    )


def test_who_comes_after_the_end_makes_no_deleted_folder_anew(tmp_path):
    late = JournalWriter(tmp_path / "runs" / "deleted", "child", makes_folder=False)
    late.append(Entry("tags", 1, None, {"a": "b"}))
    late.close()

    assert late.dropped == 1
    assert list(tmp_path.iterdir()) == []
