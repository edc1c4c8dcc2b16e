"""Do the flavors that are in no default group keep the contract, each with its SDK?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from environments import Environment

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIVE = """
from dvclive import Live

with Live("live", save_dvc_exp=False, dvcyaml=None, report=None) as live:
    live.log_params({"rate": 0.1, "name": "007", "is_big": True})
    for epoch in range(3):
        live.log_metric("train/loss", 1 / (epoch + 1), timestamp=True)
        live.next_step()
    live.log_metric("accuracy", 0.5, timestamp=True)
"""
OURS = """
from trackyard import log_metric, log_params, start_run

with start_run("baseline", experiment="fraud", experiment_tracker="live"):
    log_params({"rate": 0.1, "name": "007", "is_big": True})
    for epoch in range(3):
        log_metric("train/loss", 1 / (epoch + 1), step=epoch)
    log_metric("accuracy", 0.5, step=3)
"""
PARAMS = "import sys, ruamel.yaml as y; print(dict(y.YAML(typ='safe').load(open(sys.argv[1]))))"


@pytest.fixture(scope="session")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("apart") / "venv")
    plugins = [("--editable", ROOT / "plugins" / name) for name in ("dvclive", "swanlab")]
    core = ("--editable", f"{ROOT / 'core'}[testing]")
    environment.install(*core, *(part for plugin in plugins for part in plugin))
    return environment


@pytest.mark.long(reason="the whole suite of two flavors, in an environment of its own")
@pytest.mark.parametrize("name", ["dvclive", "swanlab"])
def test_flavor_passes_its_tests(apart, tmp_path, name):
    tests = ROOT / "plugins" / name / "tests"
    options = ("-q", "-p", "no:cacheprovider", "-o", "addopts=", "--import-mode=importlib")

    written = apart.succeed(
        *("python", "-m", "pytest", *options, "--rootdir", str(tests), str(tests)), folder=tmp_path
    )

    assert int(re.search(r"(\d+) passed", written)[1]) > 150
    assert "failed" not in written


@pytest.mark.slow
@pytest.mark.parametrize("page", ["plugins/{}/README.md", "docs/flavors/{}.md"])
@pytest.mark.parametrize("name", ["dvclive", "swanlab"])
def test_pages_of_a_flavor_run(apart, tmp_path, name, page):
    blocks = FENCE.findall((ROOT / page.format(name)).read_text(encoding="utf-8"))
    (configuration,) = [text for language, text in blocks if language == "toml"]
    (program,) = [text for language, text in blocks if language == "python"]
    (tmp_path / "trackyard.toml").write_text(configuration, encoding="utf-8")
    (tmp_path / "program.py").write_text(program, encoding="utf-8")

    written = apart.succeed("python", "program.py", folder=tmp_path)

    shown = [line[2:] for line in program.splitlines() if line.startswith("# ")]
    assert "\n".join(shown) in written
    assert list((tmp_path / ".trackyard" / name).iterdir())


@pytest.mark.long(reason="DVCLive brings a hundred distributions")
def test_files_are_those_that_dvclive_writes(apart, tmp_path):
    apart.install("dvclive==3.49.1", constraints=Path("/dev/null"))
    (tmp_path / "trackyard.toml").write_text(
        '[experiment_trackers.live]\nflavor = "dvclive"\ndirectory = "ours"\n', encoding="utf-8"
    )
    apart.succeed("python", "-c", LIVE, folder=tmp_path)
    apart.succeed("python", "-c", OURS, folder=tmp_path)
    (ours,) = (tmp_path / "ours/fraud").iterdir()
    both = (ours, tmp_path / "live")

    def rows(name: str) -> list[list[list[str]]]:
        """Give a file's rows without their times, for both."""
        texts = [(folder / "plots/metrics" / name).read_text() for folder in both]
        return [[line.split("\t")[1:] for line in text.splitlines()] for text in texts]

    for name in ("train/loss.tsv", "accuracy.tsv"):
        mine, theirs = rows(name)
        assert mine == theirs
    mine, theirs = (
        apart.succeed("python", "-c", PARAMS, str(folder / "params.yaml"), folder=tmp_path)
        for folder in both
    )
    assert mine == theirs
    apart.succeed("dvc", "init", "--no-scm", "-q", folder=tmp_path)
    shown = apart.succeed(
        "dvc", "metrics", "show", "--json", str(ours / "metrics.json"), folder=ours
    )
    assert '"loss": 0.3333333333333333' in shown
