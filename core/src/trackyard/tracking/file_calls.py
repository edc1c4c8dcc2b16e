"""How does a run log files, and what becomes files: texts, images, tables, models?"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from enum import Enum
from functools import partial
from numbers import Number
from pathlib import Path, PurePath
from time import time_ns
from typing import TYPE_CHECKING, Any

import attrs

from trackyard.contract.records import Artifact, ArtifactKind
from trackyard.journal.blobs import file_name, shortened
from trackyard.journal.entries import Entry
from trackyard.system.coercing import to_step, to_text
from trackyard.system.environment import is_disabled
from trackyard.system.interruption import let_signals_through
from trackyard.system.starving import is_starved
from trackyard.system.warning_filters import despite_filters
from trackyard.tracking.containing import contained
from trackyard.tracking.file_objects import content_of
from trackyard.tracking.tracked_runs import TrackedRun

# What makes files is imported by the calls that keep some: most steps keep none.
if TYPE_CHECKING:
    from trackyard.tracking.media import SavedFile

logger = logging.getLogger("trackyard")

_TOO_LONG = "its name was shortened, as files have up to 255 bytes; give a shorter one"
# What has a name, and no key.
_NAMED = ("artifact", "model", "dataset")
# What may well be meant as a name, by its text.
_NAMES = (str, bytes, PurePath, Number, Enum, date)


class FileCalls:
    """The calls of a run that keep files.

    Args:
        tracked: The run.
    """

    def __init__(self, tracked: TrackedRun) -> None:
        self._tracked = tracked
        self._is_disabled = is_disabled()
        self._warned: set[str] = set()

    @contained()
    def log_artifact(
        self, path: str | Path, name: str | None = None, *, final: bool = False
    ) -> None:
        """Log a file, or every file of a folder, as it is now.

        Args:
            path: The file or folder; it may be changed or deleted afterwards.
            name: Where it belongs in the run; its own name by default.
            final: Nobody changes its content any more, though it may be deleted: where the disk
                can do so it is linked rather than copied, also by trackers that keep their files
                on the same disk.
        """
        from trackyard.tracking.folders import files_of

        notes: list[str] = []
        try:
            files = files_of(path, name, notes)
        except Exception as error:
            let_signals_through(error)
            self._warn(f"artifact was not logged: {to_text(error)}")
            return
        for inner, file in files:
            self._log_source(inner, file, is_final=final)
        more = [f"and {len(notes) - 5} more like that"] if len(notes) > 5 else []
        self._warn_of("log_artifact", [*notes[:5], *more])

    @contained()
    def log_text(self, text: str, name: str, step: Any = None) -> None:
        """Log a text as a file, such as `report.txt` or `page.html`.

        Args:
            text: The text, or an open file that holds it; secrets in it are hidden.
            name: Its path in the run; `.html` makes it a page.
            step: The training step that it belongs to.
        """
        if self._is_swapped("log_text", text, name):
            return
        from trackyard.tracking import media

        redacted = self._tracked.redactor.redact(media.text_in(text))
        self._log_content(name, lambda path: media.text_file(redacted, path), step)

    @contained()
    def log_dict(self, dictionary: Any, name: str, step: Any = None) -> None:
        """Log a dict or list as a JSON file, such as `config.json`.

        Args:
            dictionary: What JSON can hold; anything else in it is kept as its text.
            name: Its path in the run.
            step: The training step that it belongs to.
        """
        if self._is_swapped("log_dict", dictionary, name):
            return
        from trackyard.tracking import media

        redact = self._tracked.redactor.redact_json
        self._log_content(name, lambda path: media.dict_file(dictionary, path, redact), step)

    @contained()
    def log_image(self, image: Any, name: str, step: Any = None) -> None:
        """Log an image, such as `sample.png`: a file, bytes, a Pillow image or an array.

        Args:
            image: A path, an open file or its bytes, a Pillow image, or an array of height x width,
                with 1, 3 or 4 channels behind or before, of truth values, integers from 0 to 255
                (grey ones to 65535) or floats from 0 to 1.
            name: Its path in the run.
            step: The training step that it belongs to.
        """
        if self._is_swapped("log_image", image, name):
            return
        from trackyard.tracking import media

        image = content_of(image, bytes)
        named = partial(media.image_name, image=image)
        if media.is_png_of_array(image, to_text(name)):
            self._log_content(name, partial(media.array_file, image), step, named)
        else:
            self._log_file(name, partial(media.save_image, image), step, named)

    @contained()
    def log_figure(self, figure: Any, name: str, step: Any = None) -> None:
        """Log a figure, such as `curve.png`.

        Args:
            figure: A figure or axes of matplotlib, a grid of seaborn; a figure of plotly, altair
                or bokeh is kept as a page.
            name: Its path in the run.
            step: The training step that it belongs to.
        """
        if self._is_swapped("log_figure", figure, name):
            return
        from trackyard.tracking import media

        save = partial(media.save_figure, figure)
        self._log_file(name, save, step, partial(media.figure_name, figure=figure))

    @contained()
    def log_table(self, table: Any, name: str, step: Any = None) -> None:
        """Log a table, such as `errors.json`: columns, a list of dicts, or a data frame.

        Args:
            table: Lists by column, a dict of one row, rows, an array, a series, or a frame of
                pandas, polars or Arrow.
            name: Its path in the run; `.parquet` makes it Parquet.
            step: The training step that it belongs to.
        """
        if self._is_swapped("log_table", table, name):
            return
        from trackyard.tracking import media

        redactor = self._tracked.redactor
        if to_text(name).endswith(".parquet"):
            self._log_file(name, partial(media.save_table, table, redactor=redactor), step)
        else:
            make = partial(media.table_file, table, redactor=redactor)
            self._log_content(name, make, step, media.table_name)

    @contained()
    def log_histogram(
        self, values: Any, name: str, step: Any = None, *, bins: int = 64, edges: Any = None
    ) -> None:
        """Log how values are distributed, such as a layer's weights.

        Args:
            values: Numbers, or an array of them; or what `numpy.histogram` gives.
            name: Its path in the run.
            step: The training step that it belongs to.
            bins: How many parts the range of the values is cut into.
            edges: Where the parts begin and the last one ends; the values are their counts then.
        """
        if self._is_swapped("log_histogram", values, name):
            return
        from trackyard.tracking.histograms import save_histogram
        from trackyard.tracking.media import json_name

        save = partial(save_histogram, values, bins=bins, edges=edges)
        self._log_file(name, save, step, json_name)

    @contained()
    def log_audio(
        self, audio: Any, name: str, step: Any = None, *, sample_rate: int | None = None
    ) -> None:
        """Log a sound, such as `speech.wav`: a file, bytes, or an array.

        Args:
            audio: A path, an open file or its bytes, or samples: an array of one dimension, or of
                samples x channels, of floats from -1 to 1 or integers; it becomes WAV.
            name: Its path in the run.
            step: The training step that it belongs to.
            sample_rate: Samples per second of an array.
        """
        if self._is_swapped("log_audio", audio, name):
            return
        from trackyard.tracking.recordings import audio_name, save_audio

        audio = content_of(audio, bytes)
        save = partial(save_audio, audio, sample_rate=sample_rate)
        self._log_file(name, save, step, partial(audio_name, audio=audio))

    @contained()
    def log_video(self, video: Any, name: str, step: Any = None, *, fps: float = 8.0) -> None:
        """Log a video, such as `episode.gif`: a file, bytes, or an array.

        Args:
            video: A path, an open file or its bytes, or frames: a list of images as `log_image`
                takes them, or an array of frames x height x width, with channels behind or before.
            name: Its path in the run; an array becomes GIF, or by `.mp4` and `.webm` such a file.
            step: The training step that it belongs to.
            fps: Frames per second of an array.
        """
        if self._is_swapped("log_video", video, name):
            return
        from trackyard.tracking.recordings import save_video, video_name

        video = content_of(video, bytes)
        save = partial(save_video, video, fps=fps)
        self._log_file(name, save, step, partial(video_name, video=video))

    @contained()
    def log_model(
        self,
        model: Any,
        name: str,
        *,
        framework: str | None = None,
        signature: Any = None,
        metrics: Mapping[str, Any] | None = None,
        step: Any = None,
        final: bool = False,
    ) -> None:
        """Log a model: its files, and what describes it.

        Args:
            model: A file or folder, or an object: one that knows how to save itself does so, as
                those of Keras, XGBoost and Transformers do, another one is pickled.
            name: Its folder in the run.
            framework: What it is made with; of an object its library's name by default.
            signature: What it takes and gives: a text, a dict, or what has `to_dict()`.
            metrics: How good it is.
            step: The training step that it belongs to.
            final: Nobody changes its files any more, as in `log_artifact`.
        """
        from trackyard.contract.kinds import MODEL_FILE
        from trackyard.tracking.models import described_model, model_files

        if self._is_disabled or not self._has_key("model", name):
            return
        if self._is_swapped("log_model", model, name):
            return
        notes: list[str] = []
        name = to_text(name).strip("/") or "model"
        with self._tracked.journal.blobs.staging("model") as place:
            try:
                files = despite_filters(model_files, model, name, place, notes)
            except Exception as error:
                let_signals_through(error)
                problem = f"{type(error).__name__}: {to_text(error)}"
                self._warn(f"model {shown(name)!r} was not logged: {problem}")
                return
            is_path = isinstance(model, str | Path)
            for inner, file in files:
                self._log_source(
                    *(inner, file, "model", step), is_final=final and is_path, is_ours=not is_path
                )
            describe = partial(
                described_model,
                *(model, name, files),
                given={"framework": framework, "signature": signature, "metrics": metrics},
                redactor=self._tracked.redactor,
            )
            self._log_file(f"{name}/{MODEL_FILE}", describe, step, is_final=final and is_path)
        self._warn_of("log_model", notes)

    @contained()
    def log_dataset(
        self,
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
        """Log which data the run used: what describes them, and not the data themselves.

        Args:
            name: The dataset's name.
            data: The data, a table or array, or a path, from which digest, schema and profile
                are found where they are not given.
            version: Its version.
            digest: A digest of its content.
            source: Where it lies, such as an address.
            schema: Its columns and their types.
            profile: Figures of it, such as the number of rows.
            context: What it is used for, such as `training`.
            step: The training step that it belongs to.
        """
        from trackyard.contract.kinds import Dataset
        from trackyard.tracking.datasets import described_dataset

        if not self._has_key("dataset", name):
            return
        if type(data) is str and not issubclass(type(name), _NAMES):
            kind, example = type(name).__name__, f"log_dataset({shown(data)!r}, data)"
            self._warn(f"log_dataset: a {kind} is no name; it comes first, as in {example}")
            return
        given = {"version": version, "digest": digest, "source": source, "context": context}
        given |= {"schema": schema, "profile": profile}
        save = partial(described_dataset, name, data, given=given, redactor=self._tracked.redactor)
        self._log_file(f"{Dataset.folder}/{to_text(name)}.json", save, step)

    def _is_swapped(self, call: str, value: Any, name: Any) -> bool:
        """Tell whether a value was given as the name, and the name as the value; say so."""
        is_so = name is not None and type(value) is str and not issubclass(type(name), _NAMES)
        if is_so:
            kind, example = type(name).__name__, f"{call}({call[4:]}, {shown(value)!r})"
            text = f"{call}: a {kind} is no name; the value comes first, then the name, as in"
            self._warn(f"{text} {example}; nothing was logged")
        return is_so

    def _log_file(
        self,
        name: Any,
        save: Callable[[Path], SavedFile],
        step: Any = None,
        named: Callable[[str], str] = str,
        *,
        is_final: bool = False,
    ) -> None:
        """Log what is written to a file."""

        def store(name: str) -> tuple[str, SavedFile]:
            with self._tracked.journal.blobs.staging(name) as path:
                saved = despite_filters(save, path)
                return self._append_file(name, saved, step, is_final=is_final)

        self._log(name, store, named)

    def _log_content(
        self,
        name: Any,
        make: Callable[[Path], SavedFile],
        step: Any = None,
        named: Callable[[str], str] = str,
    ) -> None:
        """Log what is to be a file's content; the path that is given is its name alone."""
        from trackyard.tracking.media import with_suffix_of

        def store(name: str) -> tuple[str, SavedFile]:
            saved = despite_filters(make, Path(file_name(name)))
            assert saved.content is not None
            blobs = self._tracked.journal.blobs
            if self._is_staged():
                with blobs.staging(saved.path.name) as path:
                    path.write_bytes(saved.content)
                    return self._append_file(name, attrs.evolve(saved, path=path), step)
            blob = blobs.keep(saved.content, with_suffix_of(name, saved.path))
            with blobs.holding(blob):
                return self._append_file(name, attrs.evolve(saved, path=blob.path), step)

        self._log(name, store, named)

    def _log_source(
        self,
        name: Any,
        source: Path,
        kind: ArtifactKind = "file",
        step: Any = None,
        *,
        is_final: bool = False,
        is_ours: bool = False,
    ) -> None:
        """Log a file that is there; `is_ours` is one that nobody else has."""
        from trackyard.tracking.media import save_file, stored_file

        def store(name: str) -> tuple[str, SavedFile]:
            blobs = self._tracked.journal.blobs
            if self._is_staged():
                with blobs.staging(name) as path:
                    return self._append_file(name, save_file(source, path, kind), step)
            blob = blobs.take(source, name, by_link=is_final or is_ours)
            with blobs.holding(blob):
                saved = stored_file(blob.path, kind)
                return self._append_file(name, saved, step, is_final=is_final)

        self._log(name, store)

    def _is_staged(self) -> bool:
        """Tell whether a file has a place of its own first: filters may change or drop it."""
        return bool(self._tracked.filters) or self._tracked.journal.has_end

    def _append_file(
        self, name: str, saved: SavedFile, step: Any, *, is_final: bool = False
    ) -> tuple[str, SavedFile]:
        from trackyard.tracking.media import with_suffix_of

        now, at = time_ns(), self._step(step)
        name = with_suffix_of(name, saved.path)
        artifact = Artifact(name, saved.path, saved.kind, saved.media_type, at, now, is_final)
        self._append(Entry("artifact", now, at, artifact))
        return name, saved

    def _log(
        self,
        name: Any,
        store: Callable[[str], tuple[str, SavedFile]],
        named: Callable[[str], str] = str,
    ) -> None:
        """Store an artifact, and say what is to be said of it."""
        if self._is_disabled or not self._has_key("artifact", name):
            return
        name = self._tracked.redactor.redact(to_text(name))
        try:
            name = despite_filters(named, name)
            short = shortened(name)
            notes = [] if short == name else [_TOO_LONG]
            name, saved = store(short)
            self._warn_of(f"artifact {shown(name)!r}", [*notes, *saved.notes])
        except (RecursionError, MemoryError):
            raise  # counted by the call itself
        except Exception as error:
            let_signals_through(error)
            problem = f"{type(error).__name__}: {to_text(error)}"
            self._warn(f"artifact {shown(name)!r} was not logged: {problem}")
            too_big = isinstance(error, OSError) and error.errno == errno.EFBIG
            if is_starved(error) or too_big:  # a wrong call is no loss
                self._tracked.journal.count_as_dropped(error)

    def _step(self, step: Any) -> int | float | None:
        """Give a training step, and warn where it is none or too large: none is made up."""
        at = to_step(step)
        if at is None and step is not None:
            self._warn(f"step {shown(step)} is no number: it was left out; give a whole number")
        elif type(step) in (int, float) and at != step:
            self._warn(f"step {shown(step)} became {at}; steps have 64 bits")
        return at

    def _has_key(self, what: str, key: Any) -> bool:
        """Tell whether something has a name; say it where it has none."""
        if key is None:
            word = "name" if what in _NAMED else "key"
            article = "an" if what == "artifact" else "a"
            self._warn(f"{article} {what} whose {word} is None was not logged; give it a name")
        return key is not None

    def _append(self, entry: Entry) -> None:
        if not self._is_disabled:
            self._tracked.append(entry)

    def _warn_of(self, what: str, notes: Sequence[str]) -> None:
        if notes:
            self._warn(f"{what}: {'; '.join(notes)}")

    def _warn(self, message: str) -> None:
        """Warn once of each thing: a log call may stand in a loop."""
        message = self._tracked.redactor.redact(" ".join(message.split())[:500])
        if message not in self._warned and len(self._warned) < 100:
            self._warned.add(message)
            logger.warning("%s", message)


def swapped(call: str, key: Any, value: Any) -> list[str]:
    """Give what is to be said where a key seems to be given as the value: nothing where not.

    Args:
        call: What was called.
        key: As it was given, or its text.
        value: As it was given.
    """
    if type(value) is not str or not (_is_number(key) or type(key) in (dict, list)):
        return []
    return [f"the key comes first, as in {call}({shown(value)!r}, {shown(key)})"]


def _is_number(key: Any) -> bool:
    """Tell whether a key is a number, which is no name of anything."""
    if type(key) not in (str, int, float):
        return False
    try:
        float(key)
    except (ValueError, OverflowError):
        return False
    return True


def shown(value: Any) -> str:
    """Give a value's text, short enough for a message."""
    return to_text(value)[:100]
