"""Which tests run by default, and on how many cores?

A plugin of pytest. Tests without a mark are the default tier; `slow` and `long` are left out by the
`-m` in pyproject.toml, and another `-m` takes its place. A test with both marks is `long`. A test
that is named by its node id runs whatever its mark is.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TIERS = ("slow", "long")
DEFAULT = " and ".join(f"not {tier}" for tier in TIERS)

left_out = pytest.StashKey[int]()


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run on all cores, but one file or a few tests, or with `-s`, in this process.

    Workers take a second to start, and show nothing of what a test prints.
    """
    named = config.args if config.args_source is config.ArgsSource.ARGS else []
    few = named and (len(named) == 1 or all("::" in each for each in named))
    if config.option.capture == "no" or (few and not Path(named[0]).is_dir()):
        return 0
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return workers()


def workers() -> int:
    """Choose two more than cores: for a third of its time a test waits, for processes and servers.

    Cores are those that this process may use; xdist counts two virtual ones as one.
    """
    usable = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if usable else os.cpu_count() or 1
    return cores + 2


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep this run's options from each pytest that a test starts."""
    if config.getoption("dist", "no") == "no":  # a worker of xdist, or all in this process
        os.environ.pop("PYTEST_ADDOPTS", None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slower tiers out, but for tests that are named."""
    if config.option.markexpr == "slow":
        config.option.markexpr = "slow and not long"
    if config.option.markexpr != DEFAULT:
        return
    config.option.markexpr = ""  # done here
    named = [_location(argument, config) for argument in config.args if "::" in argument]
    skipped = [item for item in items if _is_of_slower_tier(item) and not _is_named(item, named)]
    config.stash[left_out] = len(skipped)
    if skipped:
        config.hook.pytest_deselected(items=skipped)
        remaining = set(items).difference(skipped)
        items[:] = [item for item in items if item in remaining]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Ask what stands in `.ci/long` alone for its reason."""
    for mark in item.iter_markers("long"):
        if not mark.kwargs.get("reason"):
            raise pytest.UsageError(
                f"{item.nodeid}: write long(reason=...), such as 'all 36 pairs'"
            )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell pytest-xdist's controller how many were left out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(left_out, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Each worker of pytest-xdist has collected them all."""
    output: dict[str, int] = getattr(node, "workeroutput", {})
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    config.stash[left_out] = max(config.stash.get(left_out, 0), output.get("left_out", 0))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how many tests were left out, and what runs them."""
    if count := config.stash.get(left_out, 0):
        tests = "1 test was" if count == 1 else f"{count} tests were"
        terminalreporter.write_line(
            f"{tests} left out: pytest -m slow, -m long, or -m '' for all tiers"
        )


def _is_of_slower_tier(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(tier) for tier in TIERS)


def _location(argument: str, config: pytest.Config) -> tuple[Path, str]:
    path, _, names = argument.partition("::")
    return (config.invocation_params.dir / path).resolve(), names


def _is_named(item: pytest.Item, named: list[tuple[Path, str]]) -> bool:
    names = item.nodeid.partition("::")[2]
    return any(
        item.path == path and (names == wanted or names.startswith((f"{wanted}[", f"{wanted}::")))
        for path, wanted in named
    )
