"""Flavors that break a rule of packaging or configuration, each one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import attrs

from mutants.ledger import Ledger
from trackyard.contract import Secret, flavor, hookimpl


@flavor
class ForgetsTheMark(Ledger):
    """Its log hook lacks @hookimpl."""

    caught_by = "test_hooks_are_those_of_the_contract"

    def tracker_log(self, run, batch):
        self.write(run)


@flavor
class TakesAKeyword(Ledger):
    """A hook takes its argument by keyword only, which pluggy never passes."""

    caught_by = "test_hooks_are_those_of_the_contract"

    @hookimpl
    def tracker_end_run(self, *, run):
        self.end(run, "finished")


@flavor
class CannotFail(Ledger):
    """It knows no failed runs."""

    caught_by = "test_hooks_of_a_whole_life_are_there"

    tracker_fail_run = None


@flavor
class SaysNothing(Ledger):
    caught_by = "test_class_describes_itself"


@flavor
class ExplainsNoField(Ledger):
    """A field has no help."""

    caught_by = "test_every_field_has_help"

    color: str = "red"


@flavor
class RepeatsCore(Ledger):
    """It has a time-out of its own beside core's."""

    caught_by = "test_core_options_are_not_repeated"

    start_timeout: float = attrs.field(default=5.0, metadata={"help": "Seconds for the start"})


@flavor
class KeepsThePassword(Ledger):
    """Its password would stand in the file."""

    caught_by = "test_secrets_are_references"

    password: str | None = attrs.field(default=None, metadata={"help": "Password"})


def _revealed(value: Any) -> Any:
    return Secret(value).reveal() if isinstance(value, str) else value


@flavor
class ShowsTheSecret(Ledger):
    """It reads the secret when it is made, and repr shows it."""

    caught_by = "test_secrets_are_not_shown"

    token: Any = attrs.field(
        default=None, converter=_revealed, metadata={"help": "Token", "secret": True}
    )


@attrs.define(eq=True, hash=True, kw_only=True, slots=False)
class LooksLikeOthers(Ledger):
    """Two instances with the same fields are equal."""

    caught_by = "test_instances_have_an_identity"


@flavor
class WorksWhenItIsMade(Ledger):
    """Making an instance changes the environment."""

    caught_by = "test_making_an_instance_touches_nothing"

    def __attrs_post_init__(self):
        os.environ["LEDGER_INSTANCES"] = str(id(self))


@flavor
class MovesItsFolder(Ledger):
    """Its converter changes the value each time that it is read."""

    caught_by = "test_configuration_survives_toml"

    directory: Path = attrs.field(
        converter=lambda value: Path(value) / "runs", metadata={"help": "Folder for the files"}
    )
