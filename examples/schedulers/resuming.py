"""A training that goes on where it was cut off, in the same run."""

import json
import os
import time
from pathlib import Path

import trackyard

CHECKPOINT = Path(os.environ.get("CHECKPOINT", "checkpoint.json"))
EPOCHS = int(os.environ.get("EPOCHS", "100"))


def opened(name: str, patience: float = 300.0) -> trackyard.ActiveRun:
    """Go on with the run of this name, or begin it."""
    until = time.monotonic() + patience
    while True:
        try:
            return trackyard.resume_run(name)
        except trackyard.RunNotFoundError:
            return trackyard.start_run(name)
        except trackyard.TrackyardError as error:
            # Whoever was killed on another machine counts as dead after three silent minutes.
            if time.monotonic() > until:
                raise
            print(error, flush=True)
            time.sleep(15)


with opened(os.environ["RUN_NAME"]) as run:
    state = json.loads(CHECKPOINT.read_text()) if CHECKPOINT.exists() else {"epoch": 0, "loss": 1.0}
    for epoch in range(state["epoch"], EPOCHS):
        loss = state["loss"] * 0.9
        run.log_metric("loss", loss, step=epoch)
        state = {"epoch": epoch + 1, "loss": loss}
        whole = CHECKPOINT.with_suffix(".new")  # a kill leaves the old one or the new one
        whole.write_text(json.dumps(state))
        whole.replace(CHECKPOINT)
