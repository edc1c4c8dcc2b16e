"""How are lists of images logged, as the callbacks of frameworks get them?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trackyard import ActiveRun
from trackyard_integrations.joining import contained


def log_images(run: ActiveRun, name: str, images: Iterable[Any], step: int | None = None) -> None:
    """Log images of one name and step.

    Args:
        run: The run.
        name: The folder that they are logged to.
        images: The images, each as `log_image` takes it.
        step: The training step.
    """
    for index, image in enumerate(images):
        run.log_image(image, f"{name}/{index}.png", step=step)


class LogsImages:
    """Adds to a logger of Lightning the call by which the one of W&B takes images."""

    experiment: Any

    @contained
    def log_image(self, key: str, images: Iterable[Any], step: int | None = None, **_: Any) -> None:
        """Log images; in other ranks than 0 nothing.

        Args:
            key: Their name.
            images: The images.
            step: The training step.
        """
        log_images(self.experiment, key, images, step)
