"""Which functions log files into the current run, as its methods do?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackyard.tracking.calls import active_runs, current_run
from trackyard.tracking.containing import contained


@contained(active_runs)
def log_artifact(path: str | Path, name: str | None = None, *, final: bool = False) -> None:
    """Log a file or folder; see `ActiveRun.log_artifact`.

    Args:
        path: The file or folder; it may be changed or deleted afterwards.
        name: Where it belongs in the run; its own name by default.
        final: Nobody changes its content any more: it may be linked rather than copied.
    """
    current_run().log_artifact(path, name, final=final)


@contained(active_runs)
def log_text(text: str, name: str, step: Any = None) -> None:
    """Log a text as a file; see `ActiveRun.log_text`.

    Args:
        text: The text.
        name: Its path in the run; `.html` makes it a page.
        step: The training step that it belongs to.
    """
    current_run().log_text(text, name, step)


@contained(active_runs)
def log_dict(dictionary: Any, name: str, step: Any = None) -> None:
    """Log a dict or list as a JSON file; see `ActiveRun.log_dict`.

    Args:
        dictionary: What JSON can hold.
        name: Its path in the run, such as `config.json`.
        step: The training step that it belongs to.
    """
    current_run().log_dict(dictionary, name, step)


@contained(active_runs)
def log_image(image: Any, name: str, step: Any = None) -> None:
    """Log an image; see `ActiveRun.log_image`.

    Args:
        image: A path, an open file or its bytes, a Pillow image or an array.
        name: Its path in the run, such as `sample.png`.
        step: The training step that it belongs to.
    """
    current_run().log_image(image, name, step)


@contained(active_runs)
def log_figure(figure: Any, name: str, step: Any = None) -> None:
    """Log a figure; see `ActiveRun.log_figure`.

    Args:
        figure: A figure of matplotlib or plotly.
        name: Its path in the run, such as `curve.png`.
        step: The training step that it belongs to.
    """
    current_run().log_figure(figure, name, step)


@contained(active_runs)
def log_table(table: Any, name: str, step: Any = None) -> None:
    """Log a table; see `ActiveRun.log_table`.

    Args:
        table: Lists by column, a list of dicts, or a data frame.
        name: Its path in the run, such as `errors.json`.
        step: The training step that it belongs to.
    """
    current_run().log_table(table, name, step)


@contained(active_runs)
def log_histogram(
    values: Any, name: str, step: Any = None, *, bins: int = 64, edges: Any = None
) -> None:
    """Log how values are distributed; see `ActiveRun.log_histogram`.

    Args:
        values: Numbers, or counts where edges are given.
        name: Its path in the run, such as `weights`.
        step: The training step that it belongs to.
        bins: How many parts the range of the values is cut into.
        edges: Where the parts begin and the last one ends.
    """
    current_run().log_histogram(values, name, step, bins=bins, edges=edges)


@contained(active_runs)
def log_audio(audio: Any, name: str, step: Any = None, *, sample_rate: int | None = None) -> None:
    """Log a sound; see `ActiveRun.log_audio`.

    Args:
        audio: A path, an open file or its bytes, or an array of samples.
        name: Its path in the run, such as `speech.wav`.
        step: The training step that it belongs to.
        sample_rate: Samples per second of an array.
    """
    current_run().log_audio(audio, name, step, sample_rate=sample_rate)


@contained(active_runs)
def log_video(video: Any, name: str, step: Any = None, *, fps: float = 8.0) -> None:
    """Log a video; see `ActiveRun.log_video`.

    Args:
        video: A path, an open file or its bytes, or frames.
        name: Its path in the run, such as `episode.gif`.
        step: The training step that it belongs to.
        fps: Frames per second of an array.
    """
    current_run().log_video(video, name, step, fps=fps)


@contained(active_runs)
def log_model(
    model: Any,
    name: str,
    *,
    framework: str | None = None,
    signature: Any = None,
    metrics: Mapping[str, Any] | None = None,
    step: Any = None,
    final: bool = False,
) -> None:
    """Log a model; see `ActiveRun.log_model`.

    Args:
        model: A file, a folder or an object.
        name: Its folder in the run, such as `classifier`.
        framework: What it is made with.
        signature: What it takes and gives.
        metrics: How good it is.
        step: The training step that it belongs to.
        final: Nobody changes its files any more: they may be linked rather than copied.
    """
    given = {"framework": framework, "signature": signature, "metrics": metrics}
    current_run().log_model(model, name, **given, step=step, final=final)


@contained(active_runs)
def log_dataset(
    name: str,
    data: Any = None,
    *,
    version: Any = None,
    digest: Any = None,
    source: Any = None,
    schema: Any = None,
    profile: Any = None,
    context: str | None = None,
    step: Any = None,
) -> None:
    """Log which data the run used; see `ActiveRun.log_dataset`.

    Args:
        name: The dataset's name.
        data: The data or a path, which is looked at and not logged.
        version: Its version.
        digest: A digest of its content.
        source: Where it lies.
        schema: Its columns and their types.
        profile: Figures of it, such as the number of rows.
        context: What it is used for, such as `training`.
        step: The training step that it belongs to.
    """
    current_run().log_dataset(
        *(name, data),
        version=version,
        digest=digest,
        source=source,
        schema=schema,
        profile=profile,
        context=context,
        step=step,
    )
