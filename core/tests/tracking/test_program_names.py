"""Has a command the name under which people know it?"""

from __future__ import annotations

import shlex

import pytest

from trackyard.tracking.program_names import program_name


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python train.py --rate 0.1", "train"),
        ("/usr/bin/python3.11 -u code/train.py", "train"),
        ("python -m package.train --rate 0.1", "package.train"),
        ("python -um train", "train"),
        ("python -mtrain", "train"),
        ("python -W ignore -X dev train.py", "train"),
        ("python -Wignore -B -m train", "train"),
        ("python -c 1 train.py", "python"),
        ("python - train.py", "python"),
        ("python", "python"),
        ("python3 folder", "folder"),
        ("./train.py", "train"),
        ("./train", "train"),
        ("bash code/train.sh", "train"),
        ("Rscript train.R", "train"),
        ("sh -c 'exit 1'", "sh"),
        ("no.such.program", "no.such.program"),
        ("/", "command"),
    ],
)
def test_a_script_or_module_has_its_own_name_and_any_other_program_that_of_its_file(command, name):
    assert program_name(shlex.split(command)) == name
