"""Which rank has this process under torchrun, SLURM or MPI?"""

from __future__ import annotations

import os
import re

_VARIABLES = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_RANK = re.compile(r"[0-9]{1,9}")
_CHILD = re.compile(r"child-r(\d+)-p")


def process_rank() -> int:
    """Give this process's rank; 0 where there are no ranks, or none that is a number."""
    values = (os.environ.get(name, "") for name in _VARIABLES)
    return next((int(value) for value in values if _RANK.fullmatch(value)), 0)


def child_role() -> str:
    """Say how the journal files of a child of a run's process are named: by its rank."""
    rank = process_rank()
    return f"child-r{rank}" if rank else "child"


def is_child(writer: str) -> bool:
    """Tell whether a child of a run's process wrote a journal."""
    return writer.startswith("child")


def rank_of_child(writer: str) -> int:
    """Give the rank of the child that wrote a journal; 0 for the run's own process, too."""
    match = _CHILD.match(writer)
    return int(match[1]) if match else 0
