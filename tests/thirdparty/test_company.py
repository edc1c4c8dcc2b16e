"""Do an orchestrator and a format that are not of this repository keep their contracts?

They are those of the pages "Write an orchestrator" and "Write a materializer", installed as wheels
beside core alone.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from environments import Environment

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
POOL = re.compile(r"^```python\n(# pool_orchestrator.py\n.*?)^```$", re.MULTILINE | re.DOTALL)
PACKAGES = {
    "company-orchestrator": ("docs/write-an-orchestrator.md", 25),
    "company-format": ("docs/write-a-materializer.md", 15),
}
ALL_CHECKS = pytest.mark.long(reason="a minute: core's own orchestrators pass all checks in `slow`")
PROGRAM = """
from company_format import Signal
from trackyard import pipeline, step

@step
def measure() -> Signal:
    return Signal("north", "V", (1.0, 2.5))

@step
def largest(signal: Signal) -> float:
    return max(signal.values)

@pipeline
def measuring():
    largest(measure())

if __name__ == "__main__":
    run = measuring()
    print(run.steps["measure"].outputs["output"].materializer)
    print(run.steps["largest"].outputs["output"].load())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Make an environment with core and the packages, all of them as wheels."""
    environment = Environment(tmp_path_factory.mktemp("wheels") / "venv")
    environment.install_wheel_of(ROOT / "core")
    for name in PACKAGES:
        environment.install_wheel_of(ROOT / "examples" / name)
    environment.install("pytest")
    return environment


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=ALL_CHECKS if name.endswith("orchestrator") else pytest.mark.slow)
        for name in PACKAGES
    ],
)
def test_its_author_runs_the_suite(installed, tmp_path, name):
    (source,) = (ROOT / "examples" / name / "tests").glob("test_*.py")
    (tmp_path / source.name).write_bytes(source.read_bytes())

    suite = installed.succeed("pytest", "-q", "-p", "no:cacheprovider", folder=tmp_path)

    assert int(re.search(r"(\d+) passed", suite)[1]) >= PACKAGES[name][1]
    assert "failed" not in suite.splitlines()[-1]
    assert "skipped" not in suite.splitlines()[-1]


@pytest.mark.slow
def test_pipeline_uses_both_of_them(installed, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "trackyard.toml").write_text("[stacks.default]\norchestrator = 'command'\n")

    output = installed.succeed("python", "program.py", folder=tmp_path)

    assert output.splitlines()[-2:] == ["company-signal", "2.5"]
    listed = json.loads(installed.succeed("trackyard", "plugins", "--json", folder=tmp_path))
    names = {(row["distribution"], row["name"]) for row in listed}
    assert {("company-format", "company-signal"), ("company-orchestrator", "command")} <= names


@pytest.mark.parametrize("name", PACKAGES)
def test_the_page_shows_each_of_its_files(name):
    package = ROOT / "examples" / name
    blocks = FENCE.findall((ROOT / PACKAGES[name][0]).read_text(encoding="utf-8"))
    files = [path for path in package.rglob("*") if path.suffix in (".py", ".toml")]

    assert len(files) == 3
    for path in files:
        first = f"# {path.relative_to(package).as_posix()}\n"
        (shown,) = [block for block in blocks if block.startswith(first)]
        assert shown == path.read_text(encoding="utf-8")


@pytest.mark.long(reason="two minutes: it is the page's second orchestrator")
def test_the_pool_of_the_page_keeps_the_contract(installed, tmp_path):
    (pool,) = POOL.findall((ROOT / "docs/write-an-orchestrator.md").read_text(encoding="utf-8"))
    assert len(pool.splitlines()) < 60
    (tmp_path / "pool_orchestrator.py").write_text(pool, encoding="utf-8")
    suite = (ROOT / "examples/company-orchestrator/tests/test_orchestrator.py").read_text()
    table = '{"orchestrator": "pool_orchestrator:PoolOrchestrator", "places": 2}'
    file = tmp_path / "test_pool.py"
    file.write_text(re.sub(r"return \{.*\}", f"return {table}", suite), encoding="utf-8")

    command = ["pytest", "-q", "-p", "no:cacheprovider"]
    given = {"folder": tmp_path, "PYTHONPATH": str(tmp_path)}
    summary = installed.succeed(*command, **given).splitlines()[-1]

    assert int(re.search(r"(\d+) passed", summary)[1]) >= PACKAGES["company-orchestrator"][1]
    assert "failed" not in summary


@pytest.mark.parametrize("name", PACKAGES)
def test_it_has_under_60_lines(name):
    (module,) = (ROOT / "examples" / name).glob("*.py")

    assert len(module.read_text(encoding="utf-8").splitlines()) < 60
