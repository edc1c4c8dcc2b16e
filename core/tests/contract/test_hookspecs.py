"""Is the contract what plugins were written against?"""

from __future__ import annotations

import inspect

import pytest

from trackyard.contract import hookspecs
from trackyard.hooks.rules import hook_signatures

# Hook: (names of its arguments, whether the first result that is not None counts).
CONTRACT = {
    "tracker_start_run": (("run",), True),
    "tracker_start_early": (("run",), True),
    "tracker_url": (("run",), True),
    "tracker_log": (("run", "batch"), False),
    "tracker_end_run": (("run",), False),
    "tracker_fail_run": (("run", "failure"), False),
    "tracker_activate_run": (("run", "capture", "is_starting"), True),
    "tracker_remote_id": (("run",), True),
    "tracker_command_variables": (("run",), True),
    "tracker_capture_alone": (("run",), True),
    "tracker_read_native": (("run", "position"), True),
    "tracker_read_files": (("run", "files", "position"), True),
    "tracker_list_runs": (("query",), True),
    "tracker_read_run": (("run", "remote_id"), True),
    "tracker_sync_run": (("run",), False),
    "tracker_delete_run": (("run",), False),
    "tracker_check": ((), False),
    "tracker_ui_command": (("host", "port"), True),
    "tracker_filter_records": (("run",), False),
    "tracker_observe_run": (("run", "log"), False),
}


def test_contract_is_frozen():
    specs = {name: f for name, f in vars(hookspecs).items() if hasattr(f, "trackyard_spec")}

    assert {
        name: (tuple(inspect.signature(f).parameters), f.trackyard_spec["firstresult"])
        for name, f in specs.items()
    } == CONTRACT


def test_manager_knows_the_whole_contract():
    assert hook_signatures() == {name: arguments for name, (arguments, _) in CONTRACT.items()}


@pytest.mark.parametrize("name", CONTRACT)
def test_every_hook_says_what_it_is_for(name):
    assert inspect.getdoc(getattr(hookspecs, name))


@pytest.mark.parametrize("name", CONTRACT)
def test_no_hook_has_an_argument_that_pluggy_cannot_pass(name):
    parameters = inspect.signature(getattr(hookspecs, name)).parameters.values()

    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    assert all(p.default is p.empty for p in parameters)


def test_every_hook_stands_in_the_order_of_the_module_docstring():
    optional = {"tracker_list_runs", "tracker_read_run", "tracker_sync_run", "tracker_delete_run"}
    optional |= {"tracker_check", "tracker_ui_command"}
    optional |= {"tracker_remote_id", "tracker_read_native", "tracker_read_files"}
    optional |= {"tracker_command_variables"}

    assert all(name in hookspecs.__doc__ for name in CONTRACT.keys() - optional)
