"""Which run is the one whose id the agent of a sweep has decided?

An agent starts a program for each trial, with the id in a variable. The first run of the program's
that is no pipeline's own and no child is that run.
"""

from __future__ import annotations

import os
from contextlib import suppress

from trackyard.contract import Run, home
from trackyard_wandb.state import load_state, save_state


def take_trial(run: Run) -> None:
    """Have a run be the trial of a sweep, where it is the first one that the agent's program makes.

    Args:
        run: The run; who asks again for it gets the same answer.
    """
    trial, sweep = os.environ.get("WANDB_RUN_ID"), os.environ.get("WANDB_SWEEP_ID")
    is_of_pipeline = run.pipeline is not None and run.step is None
    if not (trial and sweep) or run.attached or run.is_child or is_of_pipeline:
        return
    if "id" in load_state(run.folder):
        return
    mark = home() / "wandb-sweeps" / f"{sweep}-{trial}"
    with suppress(OSError):  # then it is a run of its own
        mark.parent.mkdir(parents=True, exist_ok=True)
        try:
            with mark.open("x", encoding="utf-8") as file:
                file.write(run.id)
        except FileExistsError:
            if mark.read_text(encoding="utf-8") != run.id:
                return
        save_state(run.folder, id=trial, sweep=sweep)
