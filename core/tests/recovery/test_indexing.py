"""Does the index have of each run what is true, whoever writes it?"""

from __future__ import annotations

from trackyard import resume_run, start_run
from trackyard.project.configuration import find_project
from trackyard.recovery.indexing import index_folders
from trackyard.store import Store


def test_a_run_that_ends_while_it_is_written_as_one_that_lives_has_ended(project):
    run = start_run("short")
    run.log_metric("loss", 1.0)
    folder = find_project().home / "runs" / run.id

    def end(_):
        run.log_metric("loss", 0.5)
        run.end()
        return {}

    store = Store.of(find_project())
    assert [*index_folders(store, [folder], end)] == [folder]
    (row,) = store.execute("SELECT status, last FROM runs JOIN metrics ON run = no", {})
    assert (row["status"], row["last"]) == ("finished", 0.5)


def test_a_run_that_is_opened_again_goes_on(project):
    with start_run("long") as run:
        run.log_metric("loss", 1.0)
    resumed = resume_run("long")
    folder = find_project().home / "runs" / run.id

    store = Store.of(find_project())
    [*index_folders(store, [folder], lambda _: {})]
    assert store.execute("SELECT status FROM runs", {}) == [{"status": "running"}]
    resumed.end()
    assert store.execute("SELECT status FROM runs", {}) == [{"status": "finished"}]
