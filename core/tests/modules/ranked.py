"""What one rank of a distributed step does."""

from __future__ import annotations

import os

from trackyard import current_run, log_metric


def log_from(rank: int) -> None:
    """Log as one rank of several does."""
    os.environ["RANK"] = str(rank)
    log_metric("loss", float(rank), step=1)
    current_run().log_param("rank", rank)
    current_run().log_text(f"of {rank}", "note.txt")
