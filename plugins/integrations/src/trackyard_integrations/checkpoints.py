"""How are a training's checkpoints logged: each once, under its own name?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trackyard import ActiveRun
from trackyard_integrations.joining import numbers


class SentCheckpoints:
    """What has been sent by now: a file that is written anew is sent again."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}

    def send(self, run: ActiveRun, *paths: str | Path) -> None:
        """Log those of these files and folders that are there and have changed.

        Args:
            run: The run.
            paths: The checkpoints.
        """
        for path in map(Path, paths):
            if path.exists() and self._times.get(str(path)) != path.stat().st_mtime:
                self._times[str(path)] = path.stat().st_mtime
                run.log_artifact(path, f"checkpoints/{path.name}")


class LightningCheckpoints:
    """What a checkpoint callback of Lightning has left: it comes as a proxy, and goes any time.

    Args:
        callback: The callback.
    """

    def __init__(self, callback: Any) -> None:
        paths = (*callback.best_k_models, callback.last_model_path)
        self.paths = [path for path in paths if path]
        self.best, self.score = callback.best_model_path, callback.best_model_score

    def log(self, run: ActiveRun, sent: SentCheckpoints | None) -> None:
        """Log which is the best, and the files that are not there yet.

        Args:
            run: The run.
            sent: What has been sent by now; None where no file is wanted.
        """
        if sent is not None:
            sent.send(run, *self.paths)
        run.log_metrics(numbers({"best_score": self.score}))
        run.set_tag("best_checkpoint", self.best)


def send_from_ray(run: ActiveRun, checkpoint: Any) -> None:
    """Log a checkpoint of Ray's, which may lie in storage of a cloud.

    Args:
        run: The run.
        checkpoint: What Ray gives a callback.
    """
    with checkpoint.as_directory() as folder:
        run.log_artifact(folder, f"checkpoints/{Path(checkpoint.path).name}")
