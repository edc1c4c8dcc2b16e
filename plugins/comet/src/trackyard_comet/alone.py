"""What do Comet's own calls get where no tracker of Comet's is there, and they are only captured?

No account is asked for, and nothing waits for a server: each experiment is one of the run's, as
where there is a tracker, and signing in does nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from trackyard.contract import Run, after_import, process_values, standing_in
from trackyard_comet.writing import Place


@contextmanager
def without_account() -> Iterator[None]:
    """Let Comet's own calls in a block need no account."""
    with ExitStack() as held:
        held.enter_context(process_values({"COMET_API_KEY": None}, patience=1.0))
        if "comet_ml" in sys.modules:
            _replace(held)
        else:
            held.enter_context(after_import("comet_ml", lambda: _replace(held)))
        yield


def variables_of(run: Run, place: Place, key: str | None, *, is_offline: bool) -> dict[str, str]:
    """Give Comet's variables by which a program without Trackyard logs into the run.

    Args:
        run: The run.
        place: Where it is in Comet.
        key: The key of the account, if there is one.
        is_offline: The run is kept on this machine.
    """
    if is_offline:
        return {"COMET_START_ONLINE": "0", "COMET_OFFLINE_DIRECTORY": str(run.folder)}
    named = {
        "COMET_API_KEY": key,
        "COMET_WORKSPACE": place.workspace,
        "COMET_PROJECT_NAME": place.project,
        "COMET_EXPERIMENT_KEY": run.id,
    }
    return {name: text for name, text in named.items() if text}


def _replace(held: ExitStack) -> None:
    import comet_ml

    functions = (comet_ml.login, comet_ml.init)
    attributes = [one for function in functions for one in standing_in(function, _nothing)]
    held.enter_context(process_values({}, attributes))


def _nothing(*_: Any, **__: Any) -> None:
    """Sign in nowhere."""
