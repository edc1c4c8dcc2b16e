"""What does the flavor keep of a run in its folder beside W&B's own files?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trackyard.contract import write_whole

_FILE = "wandb.json"


def load_state(folder: Path) -> dict[str, Any]:
    """Read what is known of a run; nothing before its start."""
    try:
        return dict(json.loads((folder / _FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError):  # not started yet, or killed while it was written
        return {}


def save_state(folder: Path, **values: Any) -> None:
    """Write down values beside those that are known, whole or not at all.

    Args:
        folder: The tracker's folder of the run.
        **values: What JSON can hold, by name.
    """
    write_whole(folder / _FILE, json.dumps({**load_state(folder), **values}))
