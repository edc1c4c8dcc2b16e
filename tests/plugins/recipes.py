"""How is a recipe of docs/other-runners.md tried with the engine that it is for?"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from environments import ROOT, Environment

PAGE = ROOT / "docs/other-runners.md"
FILES = re.compile(r"^```\w+\n(# ([\w/]+\.(?:py|sh))\n.*?)^```$", re.MULTILINE | re.DOTALL)
CONFIGURATION = """
[experiment_trackers.local]
flavor = "filing:Filing"

[stacks.default]
experiment_trackers = ["local"]
"""
# The first call fails, so that the engine has to try again.
FITTING = """
from pathlib import Path

def fit(rate):
    if not Path("tried").exists():
        Path("tried").touch()
        raise ConnectionError("the data is away")
    return 5.0 * rate
"""


class Recipe:
    """A project with the files of the docs' page, and an engine that runs them."""

    def __init__(self, folder: Path, engine: Environment | None) -> None:
        self.folder = folder
        self.engine = engine
        for text, name in FILES.findall(PAGE.read_text(encoding="utf-8")):
            file = folder / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert (folder / "fitting.py").is_file()
        (folder / "fitting.py").write_text(FITTING)
        (folder / "trackyard.toml").write_text(CONFIGURATION)
        (folder / "filing.py").write_bytes((ROOT / "core/tests/modules/filing.py").read_bytes())

    def run(self, *command: str, **variables: str) -> str:
        """Run a command of the engine's environment, which has to succeed."""
        assert self.engine is not None
        variables |= {"PYTHONPATH": str(self.folder), "DO_NOT_TRACK": "1"}
        return self.engine.succeed(*command, folder=self.folder, **variables)

    def tracked(self) -> list[dict[str, dict[str, str]]]:
        """Give what the tracker holds of each run, the oldest first."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("filed/*.json"))]

    def stored(self) -> list[tuple[str, int, str, str]]:
        """Give each step with its attempt, its status and that of its run, from the store."""
        query = (
            "SELECT s.name, s.attempt, s.status, r.status FROM runs s "
            "JOIN runs r ON r.id = s.parent_id ORDER BY s.position, s.attempt"
        )
        with closing(sqlite3.connect(self.folder / ".trackyard/store.db")) as connection:
            return connection.execute(query).fetchall()

    def check(self) -> None:
        """Check that the recipe's step was tracked at both of its attempts, as one run's."""
        first, second = [run["tags"] for run in self.tracked()]

        assert first["trackyard.status"] == "failed"
        assert second["trackyard.status"] == "finished"
        assert [t["trackyard.attempt"] for t in (first, second)] == ["1", "2"]
        assert first["trackyard.group"] == second["trackyard.group"]
        for tags in (first, second):
            assert (tags["trackyard.pipeline"], tags["trackyard.step"]) == ("training", "train")
        assert self.stored() == [
            ("train", 1, "failed", "finished"),
            ("train", 2, *["finished"] * 2),
        ]
        assert [m[:2] for m in self.tracked()[1]["metrics"]] == [["loss", 0.5]]
