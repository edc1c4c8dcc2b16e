"""Does the page on `--json` say what commands write, no more and no less?"""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import click
import golden
import pytest
from recorder import Recorder

from trackyard.cli.main import cli

ROOT = Path(__file__).parents[3]
PAGE = runpy.run_path(str(ROOT / "docs/write_json.py"))
COMMANDS = PAGE["COMMANDS"]


def leaves(group, path=""):
    context = click.Context(group)
    for name in group.commands_by_name:  # not those of plugins
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


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


@pytest.mark.parametrize(("name", "command"), list(leaves(cli)))
def test_every_command_takes_json_and_is_on_the_page(name, command):
    assert any("--json" in option.opts for option in command.params)
    assert name in COMMANDS
    assert f"`trackyard {name}`" in PAGE["PAGE"].read_text(encoding="utf-8")


def test_page_has_no_command_that_is_not_there():
    assert set(COMMANDS) - {"replay --plan"} == {name for name, _ in leaves(cli)}


@pytest.mark.slow
def test_exec_leaves_stdout_to_the_command_and_says_last_how_it_ended(project):
    project.add_tracker("local", Recorder)
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    done = project.trackyard("exec", "-e", "local", "--json", "--", sys.executable, "-c", code)
    *before, last = done.stderr.splitlines()
    end = json.loads(last)

    assert (done.returncode, done.stdout, before[-1]) == (3, "out\n", "err")
    assert sorted(end) == sorted(PAGE["keys_of"]("exec"))
    assert (end["status"], end["exit_code"]) == ("failed", 3)
    assert end["urls"] == {"local": f"https://tracker.test/default/{end['id']}"}


def test_log_says_what_was_logged_and_into_which_run(project):
    project.configure("[stacks.default]\nexperiment_trackers = []\n")
    script = (
        f"set -e; t='{sys.executable} -m trackyard log'; echo hi > note.txt\n"
        "$t metric loss 0.5 --step 2 --json; $t param rate 0.1 --json\n"
        "$t tag stage base --json; $t artifact note.txt --json; $t tag quiet yes\n"
    )
    done = project.trackyard("exec", "--json", "--", "sh", "-c", script)
    texts = re.findall(r"^\{.*?^\}", done.stdout, re.M | re.S)
    written = [json.loads(text) for text in texts]

    assert done.returncode == 0
    assert {w.pop("run") for w in written} == {json.loads(done.stderr.splitlines()[-1])["id"]}
    assert written == [
        {"kind": "metric", "key": "loss", "value": 0.5, "step": 2},
        {"kind": "param", "key": "rate", "value": "0.1", "step": None},
        {"kind": "tag", "key": "stage", "value": "base", "step": None},
        {"kind": "artifact", "key": "note.txt", "value": "note.txt", "step": None},
    ]
    assert done.stdout.rstrip().endswith("}")


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
