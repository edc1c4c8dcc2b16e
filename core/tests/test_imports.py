"""Is Trackyard light, and does it leave SDKs alone until they are used?"""

from __future__ import annotations

SDKS = ("mlflow", "wandb", "comet_ml", "neptune", "trackio", "tensorboard", "ray", "kedro")

IMPORT_ALL = """
import importlib, pkgutil, sys, trackyard
for module in pkgutil.walk_packages(trackyard.__path__, "trackyard."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""

FLAVOR = {"flavor_seen": "import sdk_seen\n", "sdk_seen": ""}


def modules_after(project, code, **env):
    result = project.python(f"{code}\nimport sys\nprint('modules', *sys.modules)", **env)

    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


def test_core_imports_no_sdk_at_all(project):
    modules = modules_after(project, IMPORT_ALL)

    assert "trackyard.tracking.calls" in modules
    assert "trackyard.cli.plugins" in modules
    assert not modules & set(SDKS)


def test_importing_trackyard_alone_is_light(project):
    heavy = {"sqlalchemy", "cattrs", "click", "rich", "fsspec", "attrs"}

    assert not heavy & modules_after(project, "import trackyard")


def test_tracking_a_run_needs_neither_the_store_nor_the_command_line(project):
    code = "import trackyard\nwith trackyard.start_run() as run: run.log_metric('a', 1)"
    heavy = {"sqlalchemy", "click", "rich", "fsspec", "cloudpickle"}

    assert not heavy & modules_after(project, code)


def test_finding_plugins_imports_none(project, install):
    install("seen", FLAVOR, flavors={"seen": "flavor_seen:Seen"}, plugins={"seen": "flavor_seen"})
    modules = modules_after(
        project,
        "from trackyard.hooks.discovery import GROUPS, find_plugins\n"
        "found = [info.name for group in GROUPS for info in find_plugins(group)]\n"
        "assert found.count('seen') == 2, found",
    )

    assert not modules & {"flavor_seen", "sdk_seen", *SDKS}


def test_listing_flavors_imports_none(project, install):
    install("seen", FLAVOR, flavors={"seen": "flavor_seen:Seen"})
    modules = modules_after(
        project,
        "from trackyard.cli.main import cli\n"
        "cli(['experiment-tracker', 'flavor', 'list'], standalone_mode=False)",
    )

    assert "trackyard.cli.experiment_trackers" in modules
    assert not modules & {"flavor_seen", "sdk_seen", *SDKS}


def test_a_step_without_a_tracker_imports_nothing_that_it_does_not_need(project):
    modules = modules_after(
        project,
        "import trackyard\n"
        "@trackyard.step\n"
        "def one() -> int: return 1\n"
        "@trackyard.pipeline\n"
        "def only(): one()\n"
        "only()",
        TRACKYARD_DISABLE_PLUGINS="system-metrics",
    )
    heavy = {"fsspec", "asyncio", "email.message", "concurrent.futures", "tarfile"}

    assert "trackyard.pipelines.runner" in modules
    assert heavy & modules == set()
