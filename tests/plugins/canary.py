"""Does any test of the whole suite leave a secret in a file or in an output?

A plugin of pytest. Tests take `CANARY` for their secrets; it is also in the environment of every
test and its children. At the end of the session it must be nowhere in what the tests wrote under
their temporary folders, and nowhere in what they, or the programs that they started, printed.
A test that has to write it down itself says so by a file's name, which begins with `canary-`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from shared import shared_folder

# In two parts: the lines of a traceback must not be mistaken for a leak.
CANARY = os.environ.get("CANARY_SECRET") or "canary" + "-s3cret-0d9e7c31f5"

leaks = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[leaks] = []
    os.environ["CANARY_API_KEY"] = CANARY


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """Look into what was captured of a test."""
    report = yield
    for name, text in report.sections:
        if CANARY in text:
            item.config.stash[leaks].append(f"{item.nodeid}: {name}")
    return report


@pytest.fixture(autouse=True, scope="session")
def _no_secret_is_written_down(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    found = request.config.stash[leaks]

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def watching(*arguments: Any, **keywords: Any) -> Any:
            outputs = function(*arguments, **keywords)
            for output in outputs:
                text = output.encode(errors="replace") if isinstance(output, str) else output
                if text and CANARY.encode() in text:
                    test = os.environ.get("PYTEST_CURRENT_TEST", "")
                    found.append(f"{test}: an output that the test has read")
            return outputs

        return watching

    with pytest.MonkeyPatch.context() as patch:
        # What a test asks for itself is in no report.
        patch.setattr(
            pytest.CaptureFixture, "readouterr", watched(pytest.CaptureFixture.readouterr)
        )
        patch.setattr(subprocess.Popen, "communicate", watched(subprocess.Popen.communicate))
        yield
    for folder in {
        tmp_path_factory.getbasetemp(),
        shared_folder(tmp_path_factory, "mlflow").parent,
    }:
        found += files_with_canary(folder)
    if found:
        pytest.fail("a secret is left in\n" + "\n".join(dict.fromkeys(found)), pytrace=False)


def files_with_canary(folder: Path) -> list[str]:
    """Give the files that hold it; `grep` reads a gigabyte in a second or two."""
    command = ["grep", "-rlaF", "--exclude-dir=site-packages", "--exclude=canary-*", "-D", "skip"]
    process = subprocess.run(
        [*command, "-e", CANARY, str(folder)], capture_output=True, text=True, check=False
    )
    return process.stdout.splitlines()
