"""Is what a transport or a process would change on the way kept, or changed back?"""

from __future__ import annotations

import http.server
import logging
import threading
import time

import pytest
from mlflow import MlflowClient

import trackyard
from trackyard import start_run
from trackyard.delivery.adapting import original_name, sent_name
from trackyard_mlflow import MlflowTracker

NAMES = [
    *("fold #1.txt", "fold #2.txt", "why?a.txt", "why?b.txt", "50%20.txt", "100%.txt", "%2F.txt"),
    *("%2e%2e/x.txt", "tab\t.txt", "new\nline.txt", "a%00b.txt", "del\x7f.txt", "C:/runs/m.pt"),
    *("dot.", "...", "~tilde", "quote'\".txt", "<x>.txt", "semi;p.txt"),
    *("http://x/y.txt", "plus+.txt", "e\u0301.txt", "\u00e9.txt", "日本.txt", "d;v=1/f.txt", "D/"),
    *("C:\\back\\slash.pt", "_u23_.txt", "[a].txt", "{a|b}^`.txt", "&=@$!*(),.txt"),
]


def test_k1_names_of_artifacts_that_a_transport_changes(faults, mlflow_server):
    (faults.root / "trackyard.toml").write_text(
        "[experiment_trackers.team]\nflavor = 'mlflow'\nflush_timeout = 120\n"
        f"start_timeout = 120\ntracking_uri = '{mlflow_server.url}'\n"
    )
    with start_run("names", experiment="k1") as run:
        for name in NAMES:
            run.log_text(f"this is {name}", name)

    client = MlflowClient(mlflow_server.url)
    (experiment,) = client.search_experiments(filter_string="name = 'k1'")
    (found,) = client.search_runs([experiment.experiment_id])

    def files(folder=None):
        for info in client.list_artifacts(found.info.run_id, folder):
            yield from files(info.path) if info.is_dir else (info.path,)

    pattern = MlflowTracker.capabilities.artifact_pattern
    assert {original_name(name, pattern) for name in files()} == set(map(sent_name, NAMES))


@pytest.mark.slow
def test_k8_a_file_and_a_folder_of_one_name(faults, monkeypatch, caplog):
    """What comes second is refused, by its name, and nothing behind it waits."""
    monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")
    (faults.root / "trackyard.toml").write_text(
        "[experiment_trackers.team]\nflavor = 'mlflow'\nstart_timeout = 60\nflush_timeout = 60\n"
    )
    with start_run("names") as run:
        for name in ("a", "a/b.txt", "c/d.txt", "c"):
            run.log_text(name, name)
        run.log_metric("loss", 1)

    assert "refused artifact 'a/b.txt'" in caplog.text
    assert "refused artifact 'c'" in caplog.text
    done = faults.trackyard("sync")
    assert done.stdout.startswith("names\tteam\trefused\t3\t0\t2\t0\t\n"), done.stdout
    assert done.returncode == 1


@pytest.mark.slow
def test_k2_the_path_of_the_project_reads_like_a_url(faults, monkeypatch):
    place = faults.root / "why?a#b%20c"
    place.mkdir()
    monkeypatch.chdir(place)
    (place / "trackyard.toml").write_text("[experiment_trackers.local]\nflavor = 'mlflow'\n")

    with start_run("here", experiment="k2", experiment_tracker="local") as run:
        run.log_text("hello", "note.txt")
    trackyard.Client().sync(patience=120)

    client = MlflowClient(MlflowTracker().tracking_uri)
    (experiment,) = client.search_experiments(filter_string="name = 'k2'")
    (found,) = client.search_runs([experiment.experiment_id])
    assert [info.path for info in client.list_artifacts(found.info.run_id)] == ["note.txt"]
    assert (place / ".trackyard" / "mlflow.db").stat().st_size > 0
    assert [path.name for path in faults.root.iterdir()] == [place.name]


@pytest.mark.slow
def test_k3_an_exception_of_the_users_own_in_another_process(faults):
    (faults.root / "trackyard.toml").write_text("[stacks.default]\norchestrator = 'process'\n")

    class OwnError(Exception):
        def __init__(self, code, *, text):
            super().__init__(f"{code}: {text}")
            self.code = code

    @trackyard.step
    def failing():
        raise OwnError(5, text="x")

    with pytest.raises(OwnError, match="5: x") as caught:
        trackyard.pipeline(failing)()

    assert caught.value.code == 5


def test_k4_an_output_is_used_as_a_value_in_the_pipeline():
    @trackyard.step
    def accuracy() -> float:
        return 0.1

    for use in (
        lambda output: output == 0.1,
        lambda output: f"{output}",
        lambda output: output + 1,
    ):
        with pytest.raises(trackyard.PipelineError, match="is not known while the pipeline"):
            trackyard.pipeline(lambda use=use: use(accuracy())).build()


def test_k5_a_tracker_takes_long_to_start(faults, monkeypatch):
    moments = []
    (faults.root / "own.py").write_text(
        "import time\nfrom trackyard import flavor, hookimpl\n\nUP = []\n\n@flavor\n"
        'class Own:\n    "Start slowly."\n\n    @hookimpl\n'
        "    def tracker_start_run(self, run):\n        time.sleep(0.1)\n"
        "        UP.append(time.time())\n"
    )
    monkeypatch.syspath_prepend(str(faults.root))
    table = "[experiment_trackers.local]\nflavor = 'own:Own'\nisolation = 'thread'\n"
    (faults.root / "trackyard.toml").write_text(table)

    @trackyard.step(experiment_tracker="local")
    def quick():
        moments.append(time.time())

    run = trackyard.pipeline(quick)()

    import own

    began = run.steps["quick"].started_at.timestamp()
    # Half of what the start takes: the clock of a machine may be set meanwhile.
    assert own.UP[0] - 0.05 <= began <= moments[0] + 0.05


class _Denies(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(403)
        self.end_headers()

    do_POST = do_PUT = do_GET

    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_k6_a_server_that_denies_is_not_called_late(faults, caplog):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Denies) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (faults.root / "trackyard.toml").write_text(
            "[experiment_trackers.team]\nflavor = 'mlflow'\nstart_timeout = 60\n"
            f"flush_timeout = 0\ntracking_uri = 'http://127.0.0.1:{server.server_port}'\n"
        )
        with caplog.at_level(logging.WARNING), start_run("denied", experiment_tracker="team"):
            pass
        server.shutdown()

    assert "could not be started, and is tried again: " in caplog.text
    assert "starts late" not in caplog.text


def test_k7_a_block_without_trackers_fails_before_it_logs(faults):
    with pytest.raises(ValueError, match="odd"), start_run("failed", experiment_tracker=None):
        raise ValueError("odd")

    assert trackyard.Client().get_run("failed").status == "failed"
