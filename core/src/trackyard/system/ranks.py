"""Which rank has this process: under torchrun, Lightning, accelerate, Horovod, SLURM or MPI?"""

from __future__ import annotations

import os
import re

# What launchers give their processes, the surest first. An outer one may have said 0 to all of
# those that an inner one has started, so that the first which is above 0 counts.
_VARIABLES = (
    "HOROVOD_RANK",
    "OMPI_COMM_WORLD_RANK",
    "PMIX_RANK",
    "PMI_RANK",
    "MV2_COMM_WORLD_RANK",
    "JSM_NAMESPACE_RANK",
)
_RANK = re.compile(r"[0-9]{1,9}")
# How the names of the files begin with what an imported run has more when it is imported again.
REIMPORT = "reimport"
_CHILD = re.compile(r"child-r(\d+)-(?:s\d+-)?p")


def process_rank() -> int:
    """Give this process's rank; 0 where there are no ranks, or none that is a number.

    `RANK` says it, of torchrun, accelerate and DeepSpeed. Lightning gives its processes
    `LOCAL_RANK` and `NODE_RANK` alone.
    """
    if (rank := _number("RANK")) is not None:
        return rank
    given = (*(_number(name) for name in _VARIABLES), _rank_on_nodes(), _number("SLURM_PROCID"))
    return next((rank for rank in given if rank), 0)


def _rank_on_nodes() -> int:
    """Give a rank by that on this node; without the number of ranks on a node it is only unique."""
    node = _number("NODE_RANK") or 0
    on_a_node = _number("LOCAL_WORLD_SIZE") or _number("WORLD_SIZE") or 1
    return node * on_a_node + (_number("LOCAL_RANK") or 0)


def _number(name: str) -> int | None:
    text = os.environ.get(name, "")
    return int(text) if _RANK.fullmatch(text) else None


def child_role() -> str:
    """Say how the journal files of a child of a run's process are named: by its rank."""
    rank = process_rank()
    return f"child-r{rank}" if rank else "child"


def is_child(writer: str) -> bool:
    """Tell whether a child of a run's process wrote a journal, or another one after its end."""
    return writer.startswith(("child", REIMPORT))


def rank_of_child(writer: str) -> int:
    """Give the rank of the child that wrote a journal; 0 for the run's own process, too."""
    match = _CHILD.match(writer)
    return int(match[1]) if match else 0
