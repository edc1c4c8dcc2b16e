"""What is logged to see that a backend holds an artifact of each kind?"""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from pathlib import Path

from trackyard.contract.records import ArtifactKind
from trackyard.tracking.calls import ActiveRun

_PNG = b"\x89PNG\r\n\x1a\n" + bytes.fromhex(
    "0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cf500f"
    "0003840180f2ccaae60000000049454e44ae426082"
)
_GIF = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90400000000002c00000000010001000002024401003b"
)


def log_kind(run: ActiveRun, kind: ArtifactKind, folder: Path) -> None:
    """Log an artifact of a kind, or two.

    Args:
        run: The run.
        kind: The kind.
        folder: For files.
    """
    _LOGGED[kind](run, folder)


def _log_file(run: ActiveRun, folder: Path) -> None:
    (folder / "data.bin").write_bytes(b"\0\1\2")
    run.log_artifact(folder / "data.bin", "files/data.bin")


def _log_histograms(run: ActiveRun, _: Path) -> None:
    for step in (1, 2):
        counts = [step, 2, 4]
        run.log_histogram(counts, "weights/layer1", step, edges=[-0.5, 0, 1, 2])


def _log_audio(run: ActiveRun, _: Path) -> None:
    content = io.BytesIO()
    with wave.open(content, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(range(200)))
    run.log_audio(content.getvalue(), "sounds/speech", step=2)


def _log_model(run: ActiveRun, folder: Path) -> None:
    (folder / "net" / "deep").mkdir(parents=True)
    (folder / "net" / "weights.bin").write_bytes(b"\0\1")
    (folder / "net" / "deep" / "config.json").write_text("{}", encoding="utf-8")
    run.log_model(
        *(folder / "net", "models/classifier"),
        framework="own",
        signature={"inputs": "text", "outputs": "label"},
        metrics={"accuracy": 0.9},
    )


def _log_datasets(run: ActiveRun, _: Path) -> None:
    data = {"word": ["a", "b"], "count": [1, 2]}
    run.log_dataset("words", data, version="3", source="https://a.example/words.csv")
    run.log_dataset("words-test", digest="0123abcd", context="testing")


class _Figure:
    """Draws itself as a figure of matplotlib does."""

    def savefig(self, path: Path, **_: object) -> None:
        """Write the picture."""
        Path(path).write_bytes(_PNG)


_LOGGED: dict[ArtifactKind, Callable[[ActiveRun, Path], None]] = {
    "file": _log_file,
    "image": lambda run, _: run.log_image(_PNG, "images/sample.png", step=3),
    "figure": lambda run, _: run.log_figure(_Figure(), "plots/curve.png"),
    "table": lambda run, _: run.log_table({"truth": [1, 0], "guess": [1, 1]}, "tables/errors.json"),
    "text": lambda run, _: run.log_text("größe: 3 m\n", "notes/report.txt"),
    "html": lambda run, _: run.log_text("<h1>Report</h1>", "pages/report.html"),
    "histogram": _log_histograms,
    "audio": _log_audio,
    "video": lambda run, _: run.log_video(_GIF, "videos/episode.gif", step=4),
    "model": _log_model,
    "dataset": _log_datasets,
}
