"""Does the page on `--json` say what commands write, no more and no less?"""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import click
import golden
import pytest

from trackyard.cli.main import cli

ROOT = Path(__file__).parents[3]
PAGE = runpy.run_path(str(ROOT / "docs/write_json.py"))
COMMANDS = PAGE["COMMANDS"]


def with_json(group, path=""):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from with_json(command, f"{path}{name} ")
        elif any("--json" in option.opts for option in command.params):
            yield f"{path}{name}"


def documents():
    """Give what golden files hold as JSON, with the command."""
    for file in sorted(golden.FOLDER.glob("*.txt")):
        text = file.read_text(encoding="utf-8").partition("As JSON\n")[2]
        found = re.search(
            r"^\$ trackyard ([^\n]*) --json\n([\[{].*?^[\]}]|\[\])$", text, re.M | re.S
        )
        if found:
            yield file.stem, found[1], json.loads(found[2])


def command_of(line):
    """Give the command of a line, and of `replay --plan` the option, too."""
    words = line.split()
    longest = (" ".join(words[:count]) for count in (3, 2, 1))
    name = next(name for name in longest if name in COMMANDS)
    return f"{name} --plan" if "--plan" in words else name


def test_page_is_as_the_classes_say():
    """`uv run docs/write_json.py` writes it anew."""
    assert PAGE["PAGE"].read_text(encoding="utf-8") == PAGE["page"]()


def test_every_command_with_json_is_on_the_page():
    assert {*with_json(cli), "replay --plan"} == set(COMMANDS)


@pytest.mark.parametrize(
    ("line", "document"), [pytest.param(*found[1:], id=found[0]) for found in documents()]
)
def test_what_commands_write_has_the_keys_of_the_page(line, document):
    command = command_of(line)

    assert isinstance(document, list) == isinstance(COMMANDS[command], list)
    for written in document if isinstance(document, list) else [document]:
        assert sorted(written) == sorted(PAGE["keys_of"](command))


def test_objects_inside_have_the_keys_of_the_page():
    shown = {name: document for name, _, document in documents()}
    (step,) = shown["runs-show-block"]["steps"]
    keys = {cls.__name__: [f.name for f in PAGE["fields_of"](cls)] for cls in _classes("runs show")}

    assert sorted(step) == sorted(keys["StepView"])
    assert sorted(step["metrics"][0]) == sorted(keys["MetricSummary"])
    assert sorted(step["health"][0]) == sorted(keys["TrackerHealth"])


def _classes(command):
    return PAGE["inner_classes"](PAGE["load"](COMMANDS[command]))
