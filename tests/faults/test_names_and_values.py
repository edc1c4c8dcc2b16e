"""Is what a transport or a process would change on the way kept, or changed back?"""

from __future__ import annotations

from mlflow import MlflowClient

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
