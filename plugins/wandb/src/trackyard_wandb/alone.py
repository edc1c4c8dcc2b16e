"""What do W&B's own calls get where no tracker of W&B's is there, and they are only captured?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

from trackyard.contract import after_import, process_values


@contextmanager
def without_account() -> Iterator[None]:
    """Refuse what needs W&B's server in a block: nothing else asks for an account."""
    with ExitStack() as held:
        held.enter_context(process_values({"WANDB_MODE": "offline"}, patience=1.0))
        if "wandb" in sys.modules:
            _refuse(held)
        else:
            held.enter_context(after_import("wandb", lambda: _refuse(held)))
        yield


def _refuse(held: ExitStack) -> None:
    import wandb

    names = ("Api", "sweep", "agent")
    attributes = [(wandb, name, _refusing(f"wandb.{name}")) for name in names]
    held.enter_context(process_values({}, attributes))


def _refusing(name: str) -> Any:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        from wandb.errors import UsageError

        raise UsageError(
            f"{name} needs W&B's server, and here W&B is only captured; to track in W&B, type: "
            "trackyard experiment-tracker register team --flavor wandb"
        )

    return refuse
