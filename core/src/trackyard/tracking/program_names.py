"""After what is a command called: its program, or the script that an interpreter runs?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_PYTHON = re.compile(r"(python|pypy)[\d.]*(\.exe)?")
# Options of Python's that take the next argument.
_TAKES_NEXT = ("-W", "-X", "--check-hash-based-pycs")
# Others: what follows at once is the script.
_INTERPRETERS = frozenset(("bash", "sh", "zsh", "julia", "node", "perl", "ruby", "Rscript"))
_SCRIPTS = (".py", ".sh", ".jl", ".js", ".pl", ".rb", ".R")


def program_name(command: Sequence[str]) -> str:
    """Name a command as people speak of it: `train` for `python train.py` and `python -m train`.

    Args:
        command: The program and its arguments.
    """
    program = Path(command[0]).name
    if _PYTHON.fullmatch(program):
        program = _run_by_python(command[1:]) or program
    elif program in _INTERPRETERS and len(command) > 1 and not command[1].startswith("-"):
        program = Path(command[1]).name
    stem, suffix = Path(program).stem, Path(program).suffix
    return (stem if suffix in _SCRIPTS else program) or "command"


def _run_by_python(arguments: Sequence[str]) -> str | None:
    """Give the module or the script that Python runs; None where it is neither."""
    left = iter(arguments)
    for argument in left:
        if not argument.startswith("-"):
            return Path(argument).name
        if argument in _TAKES_NEXT:
            next(left, None)
        elif module := re.fullmatch(r"-[A-Zabd-ln-z]*m(.*)", argument):
            return module[1] or next(left, None)
        elif argument == "-" or re.match(r"-[A-Za-z]*c", argument):
            return None
    return None
