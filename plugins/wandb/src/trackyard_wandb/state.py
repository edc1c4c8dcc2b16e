"""What does the flavor keep of a run in its folder beside W&B's own files?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    part = folder / f"{_FILE}.part"
    part.write_text(json.dumps({**load_state(folder), **values}), encoding="utf-8")
    part.replace(folder / _FILE)
