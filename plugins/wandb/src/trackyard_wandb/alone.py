"""Where do W&B's own calls go that are only captured, or made by a command without Trackyard?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from trackyard.contract import after_import, process_values, standing_in
from trackyard_wandb.native_calls import native_folder
from trackyard_wandb.places import Place


def refuse_server(call: str) -> NoReturn:
    """Say that a call of W&B's cannot be done where it is only captured.

    Args:
        call: The call.

    Raises:
        UsageError: Always.
    """
    from wandb.errors import UsageError

    raise UsageError(
        f"{call} needs W&B's server, and here W&B is only captured; to track in W&B, type: "
        "trackyard experiment-tracker register team --flavor wandb"
    )


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


def variables_of(place: Place, folder: Path) -> dict[str, str]:
    """Give W&B's variables by which a program writes where the run's native calls are looked for.

    Args:
        place: Where the run is in W&B.
        folder: The tracker's folder of the run.
    """
    native_folder(folder).mkdir(parents=True, exist_ok=True)
    named = {
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(native_folder(folder)),
        "WANDB_RUN_ID": place.id,
        "WANDB_PROJECT": place.project,
        "WANDB_RUN_GROUP": place.group,
        "WANDB_JOB_TYPE": place.job_type,
    }
    return {name: text for name, text in named.items() if text}


def _refuse(held: ExitStack) -> None:
    import wandb

    attributes = [
        *standing_in(wandb.sweep, _refusing("wandb.sweep")),
        *standing_in(wandb.agent, _refusing("wandb.agent")),
        (wandb.Api, "__init__", _refusing("wandb.Api")),
    ]
    held.enter_context(process_values({}, attributes))


@cache
def _refusing(name: str) -> Any:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        refuse_server(name)

    return refuse
