"""A disk that is full, broken, read-only or slow costs counted records, never the step."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import time

import pytest
from left_behind import remove

from trackyard import start_run
from trackyard.journal.reader import is_alive
from trackyard.recovery.finishing import sync_all

END_KINDS = ["end"]


def dropped(faults, folder) -> int:
    return sum(entry.data["count"] for entry in faults.journal(folder) if entry.kind == "dropped")


@pytest.fixture
def home(faults, mount, monkeypatch):
    """A small file system for what Trackyard keeps; the tracker's own is elsewhere."""

    def home(options: str = "size=256k"):
        place = mount(options)
        monkeypatch.setenv("TRACKYARD_HOME", str(place / "home"))
        faults.home = place / "home"
        return place

    return home


def test_d1_the_disk_fills_while_the_run_logs(faults, home, caplog):
    faults.add_tracker(isolation="thread")
    home("size=512k")  # of which the store takes a half
    with start_run("full") as run:
        for number in range(8000):
            run.log_metric("loss", number, step=number)
    (folder,) = faults.run_folders()
    kept = faults.journaled("loss", folder)

    assert kept == list(range(len(kept)))
    assert 0 < len(kept) < 8000
    assert dropped(faults, folder) == 8000 - len(kept)
    assert "No space left on device" in caplog.text
    assert faults.values("loss") == kept
    assert faults.statuses() == ["finished"]


def test_d1_the_disk_is_full_from_the_start(faults, home, caplog):
    faults.add_tracker(isolation="thread")
    place = home()
    (place / "filler").write_bytes(b"x" * 200 * 1024)
    with start_run("full") as run:
        run.log_metric("loss", 1)

    assert "cannot be written (no space left on device); the runs are kept in" in caplog.text
    assert faults.values("loss") == [1]
    assert faults.statuses() == ["finished"]


def test_d1_the_disk_is_full_of_files(faults, home, caplog):
    faults.add_tracker(isolation="thread")
    place = home("size=1m,nr_inodes=12")
    for number in range(12):
        try:
            (place / f"filler-{number}").touch()
        except OSError:
            break
    with start_run("full") as run:
        run.log_metric("loss", 1)

    assert "cannot be written" in caplog.text
    assert faults.values("loss") == [1]
    assert faults.statuses() == ["finished"]


ERRORS = {"quota": errno.EDQUOT, "broken disk": errno.EIO, "read-only": errno.EROFS}


@pytest.mark.parametrize("error", ERRORS)
def test_d2_the_system_refuses_to_write(faults, error, monkeypatch, caplog):
    """The journal is written without a map, so that each write may fail, from the third on."""
    faults.add_tracker(isolation="thread")
    monkeypatch.delattr(os, "posix_fallocate")
    written, pwrite = [], os.pwrite

    def refuse(*arguments):
        written.append(arguments)
        if 3 < len(written) < 8:
            raise OSError(ERRORS[error], os.strerror(ERRORS[error]))
        return pwrite(*arguments)

    monkeypatch.setattr(os, "pwrite", refuse)
    with start_run("refused") as run:
        for number in range(4):
            run.log_metric("loss", number)
        time.sleep(1.2)  # for a second the disk is not asked again
        for number in range(4, 10):
            run.log_metric("loss", number)
    (folder,) = faults.run_folders()
    kept = faults.journaled("loss", folder)

    assert 3 <= len(kept) < 10
    assert dropped(faults, folder) == 10 - len(kept)
    assert os.strerror(ERRORS[error]) in caplog.text
    assert faults.values("loss") == kept
    assert faults.statuses() == ["finished"]


def test_d2_too_many_open_files(faults, caplog):
    faults.add_tracker(isolation="thread")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    with start_run("many files") as run:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
        try:
            try:
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                run.log_metric("loss", 1)
        finally:
            for file in held:
                os.close(file)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert "Too many open files" in caplog.text
    assert faults.statuses() == ["finished"]


def test_d2_a_file_may_not_grow(faults):
    """`ulimit -f`: the system says so with SIGXFSZ and EFBIG."""
    faults.add_tracker(isolation="process")
    process = faults.python("""
import resource
from trackyard import start_run
with start_run("limited") as run:
    run.log_metric("loss", 0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    for number in range(1, 5000):
        run.log_metric("loss", number)
print("done")
""")
    (folder,) = faults.run_folders()
    kept = faults.journaled("loss", folder)

    assert (process.returncode, process.stdout) == (0, "done\n")
    assert 0 < len(kept) == 5000 - dropped(faults, folder)
    assert faults.statuses() == ["finished"]


def test_d2_a_name_that_is_too_long(faults, caplog):
    faults.add_tracker(isolation="thread")
    with start_run("n" * 5000) as run:
        run.log_metric("k" * 5000, 1)
        run.log_text("text", "f" * 5000)

    assert faults.values("k" * 5000) == [1]
    assert faults.statuses() == ["finished"]
    assert "its name was shortened, as files have up to 255 bytes" in caplog.text


def test_d3_a_folder_that_may_not_be_written(faults, mount, monkeypatch, caplog):
    faults.add_tracker(isolation="thread")
    place = mount("size=1m,ro")
    monkeypatch.setenv("TRACKYARD_HOME", str(place / "home"))
    with start_run("read-only") as run:
        run.log_metric("loss", 0.5)

    assert "cannot be written (Read-only file system); the runs are kept in" in caplog.text
    assert faults.values("loss") == [0.5]
    assert faults.statuses() == ["finished"]


def test_d3_no_home_at_all(faults):
    faults.add_tracker(isolation="thread")
    environment = {k: v for k, v in faults.environment().items() if k != "HOME"}
    process = faults.python(
        "import os; os.environ.clear(); os.environ.update(eval(os.sys.argv[1]))\n"
        "from trackyard import start_run\n"
        "with start_run('homeless') as run:\n    run.log_metric('loss', 0.5)\n",
        repr(environment),
    )

    assert process.returncode == 0, process.stderr
    assert faults.values("loss") == [0.5]


def test_d4_the_runs_folder_is_deleted_meanwhile(faults):
    faults.add_tracker(isolation="thread")
    with start_run("deleted") as run:
        run.log_metric("loss", 1)
        remove(faults.home / "runs")
        for number in range(2, 3000):
            run.log_metric("loss", number)
    (folder,) = faults.run_folders()
    kept = faults.journaled("loss", folder)

    assert kept == list(range(3000 - len(kept), 3000))
    assert [entry.kind for entry in faults.journal(folder)][-1:] == END_KINDS


@pytest.mark.parametrize("deleted", ["run", "runs", "home"])
def test_d4_what_was_written_after_the_deletion_is_delivered_and_the_rest_is_counted(
    faults, deleted, caplog
):
    settings = {"start_timeout": 0.2, "flush_timeout": 0.2}
    backend = faults.add_tracker(isolation="thread", **settings)
    (backend / "down").touch()
    with start_run("deleted") as run:
        run.log_metric("loss", 1)
        folder = faults.home / "runs" / run.id
        remove({"run": folder, "runs": folder.parent, "home": faults.home}[deleted])
        for number in range(2, 3000):
            run.log_metric("loss", number)
    kept = faults.journaled("loss")
    lost = 2999 - len(kept)

    assert lost > 0
    assert f"has not taken {len(kept)} record(s) and the end of 1 run(s)" in caplog.messages[-1]
    assert caplog.messages[-1].endswith(f"trackyard sync; {lost} log call(s) are lost")
    (backend / "down").unlink()
    sync_all(faults.project, patience=10)
    assert faults.values("loss") == kept
    assert faults.statuses() == ["finished"]


def test_d4_no_later_sync_is_promised_where_nothing_can_be_written_again(faults, caplog):
    backend = faults.add_tracker(isolation="thread", start_timeout=0.2, flush_timeout=0.2)
    (backend / "down").touch()
    with start_run("deleted") as run:
        run.log_metric("loss", 1)
        remove(faults.home)
        faults.home.touch()  # a file in the place of the folder
        run.log_metric("loss", 2)

    assert "what it lacks is lost, since the run's folder was deleted" in caplog.messages[-1]
    assert "trackyard sync" not in caplog.messages[-1]


def test_d5_a_file_system_without_locks(faults, monkeypatch):
    """NFS without its lock daemon. The tracker gets all; who is alive cannot be seen by a lock."""
    faults.add_tracker(isolation="thread")

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with start_run("without locks") as run:
        run.log_metric("loss", 0.5)
        (folder,) = faults.run_folders()
        assert is_alive(folder)

    assert faults.values("loss") == [0.5]
    assert faults.statuses() == ["finished"]


def test_d6_the_system_writes_less_than_it_was_given(faults, monkeypatch):
    faults.add_tracker(isolation="thread")
    monkeypatch.delattr(os, "posix_fallocate")
    pwrite = os.pwrite
    monkeypatch.setattr(
        os, "pwrite", lambda file, data, place: pwrite(file, data[: len(data) // 2 or 1], place)
    )
    with start_run("short") as run:
        for number in range(50):
            run.log_metric("loss", number)

    assert faults.journaled("loss") == list(range(50))
    assert faults.values("loss") == list(range(50))


def test_d7_the_disk_fails_to_hold_what_was_written(faults, monkeypatch, caplog):
    """What it failed to hold is written once more, into a new file, and keeps its numbers."""
    faults.add_tracker(isolation="thread")
    with (faults.root / "trackyard.toml").open("a") as file:
        file.write('[journal]\ndurability = "record"\n')
    asked, fdatasync = [], os.fdatasync

    def fail(file):
        asked.append(file)
        if len(asked) == 5:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fdatasync(file)

    monkeypatch.setattr(os, "fdatasync", fail)
    with start_run("failing") as run:
        for number in range(10):
            run.log_metric("loss", number)
    (folder,) = faults.run_folders()

    assert faults.journaled("loss") == faults.values("loss") == list(range(10))
    assert len(list(folder.glob("*.tyj"))) == 2
    assert "the disk failed" in caplog.text
    assert faults.statuses() == ["finished"]


def test_d8_the_disk_is_full_and_then_has_room(faults, home):
    faults.add_tracker(isolation="thread")
    place = home("size=512k")
    with start_run("again") as run:
        run.log_metric("loss", 0)
        filler = place / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass
        for number in range(1, 3000):
            run.log_metric("loss", number)
        filler.unlink()
        time.sleep(1.1)  # for a second the disk is not asked again
        run.log_metric("loss", 3000)
    (folder,) = faults.run_folders()
    kept = faults.journaled("loss", folder)

    assert kept[-1] == 3000
    assert kept[:-1] == list(range(len(kept) - 1))
    assert dropped(faults, folder) == 3001 - len(kept)
    assert faults.values("loss") == kept
    assert faults.statuses() == ["finished"]
