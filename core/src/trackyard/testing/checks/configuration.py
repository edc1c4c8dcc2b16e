"""Are a flavor's fields its configuration, strictly read, and its secrets kept?"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs

from trackyard.contract.errors import ConfigError
from trackyard.contract.flavors import is_secret
from trackyard.contract.records import Capabilities
from trackyard.project.stacks import TrackerOptions
from trackyard.testing.contract import check, expect
from trackyard.testing.workbench import Workbench

_SOUNDS_SECRET = re.compile(r"(^|_)(api_?key|password|secret|token|credentials?)$")
# What must be told from a text in a table of TOML.
_WRONG: dict[str, object] = {"str": 5, "int": "five", "float": "five", "bool": "yes"}


class ConfigurationChecks:
    """What `[experiment_trackers.NAME]` may hold, and what an instance does with it."""

    @check("The init fields are its configuration: what TOML says is what the instance holds.")
    def test_configuration_survives_toml(self, workbench: Workbench) -> None:
        first = _fields(workbench.instance())
        changed = {key: first[key] for key in workbench.table if key in first}
        workbench.configure(**{key: value for key, value in changed.items() if value is not None})
        second = _fields(workbench.instance())
        expect(first == second, f"{_changes(first, second)} after a second reading")

    @check("An unknown key is one error that names the key and what is known.")
    def test_unknown_key_is_refused(self, workbench: Workbench) -> None:
        workbench.configure(no_such_field=1)
        message = _refusal(workbench)
        expect("no_such_field" in message, f"configuring no_such_field gives: {message}")

    @check("A value of the wrong type is one error that names the key.")
    def test_wrong_type_is_refused(self, workbench: Workbench) -> None:
        for field in _init_fields(workbench.flavor):
            kind = getattr(field.type, "__name__", str(field.type))
            if kind in _WRONG and field.converter is None:
                workbench.configure(**{field.name: _WRONG[kind]})
                message = _refusal(workbench)
                expect(field.name in message, f"{field.name} = {_WRONG[kind]!r} gives: {message}")

    @check('Fields are made by option("..."), whose line the command line and the docs show.')
    def test_every_field_has_help(self, workbench: Workbench) -> None:
        fields = _init_fields(workbench.flavor)
        silent = [field.name for field in fields if not field.metadata.get("help")]
        expect(not silent, f"no help for {', '.join(silent)}")

    @check("These options belong to core, flavors do not repeat them.")
    def test_core_options_are_not_repeated(self, workbench: Workbench) -> None:
        own = {field.name for field in attrs.fields(TrackerOptions)}
        repeated = [f.name for f in _init_fields(workbench.flavor) if f.name in own]
        expect(not repeated, f"the flavor has fields of its own: {', '.join(repeated)}")

    @check("Secrets through trackyard.secret(): a table holds references, never the secret.")
    def test_secrets_are_references(self, workbench: Workbench) -> None:
        fields = _init_fields(workbench.flavor)
        plain = [f.name for f in fields if _SOUNDS_SECRET.search(f.name) and not is_secret(f)]
        expect(not plain, f"{', '.join(plain)} would stand in the file in plain text")
        for field in filter(is_secret, fields):
            workbench.configure(**{field.name: "a plain value"})
            message = _refusal(workbench)
            expect("a plain value" not in message, f"the error shows the secret: {message}")

    @check("Secrets are never in repr.")
    def test_secrets_are_not_shown(self, workbench: Workbench) -> None:
        with _secrets_set(workbench) as values:
            instance = workbench.instance()
            shown = f"{instance!r} {instance}"
            leaked = [field for field, value in values.items() if value in shown]
            expect(not leaked, f"repr of an instance shows {', '.join(leaked)}")

    @check("pluggy needs identity: it refuses two equal plugins and puts plugins in sets.")
    def test_instances_have_an_identity(self, workbench: Workbench) -> None:
        first, second = workbench.instance(), workbench.instance()
        expect(first != second, "two instances with the same fields are equal")
        expect(len({first, second}) == 2, "two instances are one in a set")

    @check("capabilities: ClassVar[Capabilities] declares the backend's limits.")
    def test_limits_make_sense(self, workbench: Workbench) -> None:
        declared = getattr(workbench.instance(), "capabilities", Capabilities())
        expect(isinstance(declared, Capabilities), f"capabilities is {declared!r}")
        re.compile(declared.key_pattern)
        plain = re.fullmatch(declared.artifact_pattern, "model_1.txt")
        expect(plain is not None, "artifact_pattern does not take model_1.txt")
        for name in ("key_length", "param_length", "tag_length"):
            limit = getattr(declared, name)
            expect(limit is None or limit >= 50, f"{name}={limit} holds next to nothing")
        expect(declared.largest_batch >= 1, f"largest_batch={declared.largest_batch}")
        largest = declared.largest_request
        expect(largest is None or largest >= 10_000, f"largest_request={largest} holds too little")
        plain = re.fullmatch(declared.key_pattern, "train/loss") or re.fullmatch(
            declared.key_pattern, "train_loss"
        )
        expect(plain is not None, "key_pattern takes neither train/loss nor train_loss")

    @check("Making an instance touches nothing: no SDK, no file, no variable, no network.")
    def test_making_an_instance_touches_nothing(self, workbench: Workbench) -> None:
        workbench.instance()  # the first imports what core itself needs for it
        modules, environment = set(sys.modules), dict(os.environ)
        files = sorted(workbench.root.rglob("*"))
        workbench.instance()
        expect(set(sys.modules) == modules, f"it imports {set(sys.modules) - modules}")
        expect(dict(os.environ) == environment, "it changes the environment")
        expect(sorted(workbench.root.rglob("*")) == files, "it writes into the working directory")


def _init_fields(flavor: type) -> list[Any]:
    return [field for field in attrs.fields(flavor) if field.init]


def _fields(instance: Any) -> Mapping[str, Any]:
    return {field.name: getattr(instance, field.name) for field in _init_fields(type(instance))}


def _changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} is {second[k]!r}, was {v!r}" for k, v in first.items() if second[k] != v)


def _refusal(workbench: Workbench) -> str:
    try:
        workbench.instance()
    except ConfigError as error:
        return str(error)
    return "no error at all"


@contextmanager
def _secrets_set(workbench: Workbench) -> Iterator[dict[str, str]]:
    """Configure every secret of the flavor by a variable, and give the values."""
    names = [field.name for field in _init_fields(workbench.flavor) if is_secret(field)]
    values = {name: secrets.token_hex(8) for name in names}
    variables = {name: f"TRACKYARD_TESTING_{name.upper()}" for name in names}
    try:
        for name, variable in variables.items():
            os.environ[variable] = values[name]
        workbench.configure(**{name: f"env:{variable}" for name, variable in variables.items()})
        yield values
    finally:
        for variable in variables.values():
            del os.environ[variable]
