"""What does the process do that uploads a run? A command of W&B's, as long as its parent lives.

Its own command is `python -m trackyard_wandb.sync_process PARENT ARGUMENTS...`.
"""

from __future__ import annotations

import os
import sys
import time
from threading import Thread


def main() -> None:
    """Run the command."""
    Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    from wandb.cli.cli import cli

    cli.main(args=sys.argv[2:], prog_name="wandb")


def _end_with(parent: int) -> None:
    """End with the parent; the SDK's service ends with this process."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


if __name__ == "__main__":
    main()
