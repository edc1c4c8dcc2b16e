"""How does one open, read and save the files that a run logged?

They come from its journal, or from one of its trackers where that is gone or damaged.
"""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any, TypeVar

import attrs

from trackyard.contract.errors import ArtifactNotFoundError
from trackyard.contract.records import Artifact, ArtifactKind
from trackyard.delivery.adapting import sent_name
from trackyard.runs.held_elsewhere import HeldElsewhere
from trackyard.runs.histories import History
from trackyard.runs.lists import moment
from trackyard.system.showing import Shown, ShownAs, html_table, line, says
from trackyard.system.suggestions import did_you_mean, listed
from trackyard.tracking.json_texts import value_in

_T = TypeVar("_T")


@attrs.frozen(repr=False)
class LoggedFile(Shown):
    """A file that a run logged, as it was then."""

    name: str = attrs.field(metadata=says("Where it belongs in the run"))
    kind: ArtifactKind = attrs.field(
        metadata=says(
            "`file`, `image`, `figure`, `table`, `text`, `html`, `histogram`, `audio`, `video`, "
            "`model` or `dataset`"
        )
    )
    size: int = attrs.field(metadata=says("Its bytes"))
    media_type: str | None = attrs.field(metadata=says("MIME type, or none where unknown"))
    step: float | None = attrs.field(metadata=says("Training step, or none"))
    logged_at: datetime | None = attrs.field(
        metadata=says("When it was logged (UTC); none where a tracker does not keep that")
    )
    earlier: tuple[LoggedFile, ...] = attrs.field(
        metadata={"help": "What was logged under this name before, the first first", "json": False}
    )
    _find: Callable[[], Path] = attrs.field(eq=False, metadata={"json": False})

    def open(self, mode: str = "r", encoding: str | None = None) -> IO[Any]:
        """Open it for reading, as `Path.open` does.

        Args:
            mode: `r` for text, `rb` for bytes.
            encoding: Of the text; UTF-8 by default.

        Raises:
            ArtifactNotFoundError: Its content is nowhere to be had.
            ValueError: The mode would write.
        """
        if mode not in ("r", "rt", "rb"):
            raise ValueError(f"a logged file is only read: mode is 'r' or 'rb', not {mode!r}")
        return self._find().open(mode, encoding=None if mode == "rb" else encoding or "utf-8")

    def read_bytes(self) -> bytes:
        """Read all of it.

        Raises:
            ArtifactNotFoundError: Its content is nowhere to be had.
        """
        return self._find().read_bytes()

    def read_text(self, encoding: str = "utf-8") -> str:
        """Read all of it as a text.

        Raises:
            ArtifactNotFoundError: Its content is nowhere to be had.
        """
        return self._find().read_text(encoding)

    def read_json(self) -> Any:
        """Read what `log_dict` or `log_table` wrote; NaN and infinities are numbers again.

        Raises:
            ArtifactNotFoundError: Its content is nowhere to be had.
            ValueError: It is no JSON.
        """
        return value_in(self.read_bytes())

    def save(self, path: str | Path = ".") -> Path:
        """Save it, whole or not at all; what was there before is replaced.

        Args:
            path: A file, or a folder that is there, in which it gets its name.

        Returns:
            The file.

        Raises:
            ArtifactNotFoundError: Its content is nowhere to be had.
            OSError: It cannot be written.
        """
        target = Path(path)
        if target.is_dir():
            target /= sent_name(self.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}")
        try:
            shutil.copyfile(self._find(), part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target


class Artifacts(Mapping[str, LoggedFile], ShownAs):
    """The files that a run logged, by name; the latest of each.

    Args:
        run: The run's name, for messages.
        here: What its journal has; None where that is gone.
        elsewhere: Gives what a tracker has.
        is_whole: The journal, where it is there, lacks nothing.
    """

    def __init__(
        self,
        run: str,
        here: Mapping[str, LoggedFile] | None,
        elsewhere: Callable[[], Mapping[str, LoggedFile]],
        *,
        is_whole: bool = True,
    ) -> None:
        self._run = run
        self.here = here
        self._elsewhere = elsewhere
        self.is_whole = is_whole
        self.names: Sequence[str] = ()  # what the store names, where the journal is not here

    @cached_property
    def _all(self) -> Mapping[str, LoggedFile]:
        return self._elsewhere() if self.here is None else self.here

    @cached_property
    def everywhere(self) -> Mapping[str, LoggedFile]:
        """What the journal has, and a tracker's where the journal lacks something."""
        return self._all if self.is_whole else {**self._elsewhere(), **self._all}

    def __getitem__(self, name: str) -> LoggedFile:
        files = self._all if name in self._all else self.everywhere
        found = files.get(name) or files.get(sent_name(str(name)))
        if found is None:
            if any(known.startswith(f"{name}/") for known in files):
                hint = f"; it is a folder: type .in_folder({str(name)!r})"
            else:
                hint = did_you_mean(str(name), files) or f"; there are {listed(files)}"
            raise ArtifactNotFoundError(f"run {self._run!r} has no artifact {name!r}{hint}")
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def in_folder(self, folder: str) -> Artifacts:
        """Give the files below a folder, such as one that was logged as a whole.

        Raises:
            ArtifactNotFoundError: There are none.
        """
        below = {n: f for n, f in self._all.items() if n.startswith(f"{folder.rstrip('/')}/")}
        if not below:
            known = {name.rpartition("/")[0] for name in self._all} - {""}
            hint = did_you_mean(folder, known) or f"; there are {listed(known)}"
            raise ArtifactNotFoundError(f"run {self._run!r} has no folder {folder!r}{hint}")
        return Artifacts(self._run, below, self._elsewhere)

    def save(self, folder: str | Path = ".") -> list[Path]:
        """Save all of them in a folder, each under its name.

        Args:
            folder: The folder, which is made if need be.

        Returns:
            The files.

        Raises:
            ArtifactNotFoundError: The content of one is nowhere to be had.
            OSError: One cannot be written.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        return [file.save(folder) for file in self.values()]

    def shown(self) -> list[str]:
        """Name what the journal has, or the store names: a look asks no tracker."""
        return list(self.names if self.here is None else self.here)

    def __repr__(self) -> str:
        return line(f"<Artifacts of {self._run}: {listed(self.shown())}>")

    def _repr_html_(self) -> str:
        files = (self.here or {}).values()
        return html_table(("name", "kind", "bytes"), [(f.name, f.kind, str(f.size)) for f in files])


def artifacts_of(run: str, tracker: HeldElsewhere | None, history: History | None) -> Artifacts:
    """Give the files that a run logged.

    Args:
        run: Its name.
        tracker: What its trackers hold; None where it is on none, and its journal is not here.
        history: What its journal holds; None where that is not here.
    """
    if history is None:
        return (
            Artifacts(run, None, partial(_files, tracker)) if tracker else Artifacts(run, {}, dict)
        )
    assert tracker is not None
    find = partial(_latest, tracker, run)
    here = {name: _file(files, find, tracker) for name, files in history.artifacts.items()}
    return Artifacts(run, here, partial(_files, tracker), is_whole=not history.lost)


def joined(run: str, parts: Iterable[tuple[str, Artifacts]]) -> Artifacts:
    """Give the files of several steps; names that several have stand below those of the steps.

    Args:
        run: The name of the run that they belong to.
        parts: The steps' names and files.
    """
    parts = list(parts)

    def join(maps: Iterable[Mapping[str, _T]]) -> dict[str, _T]:
        by_step = [(step, files) for (step, _), files in zip(parts, maps, strict=True)]
        counts = Counter(name for _, files in by_step for name in files)
        return {
            f"{step}/{name}" if counts[name] > 1 else name: file
            for step, files in by_step
            for name, file in files.items()
        }

    here = [files.here for _, files in parts]
    known = [files for files in here if files is not None]
    all_files = Artifacts(
        run,
        join(known) if len(known) == len(parts) else None,
        lambda: join(files.everywhere for _, files in parts),
        is_whole=all(files.is_whole for _, files in parts),
    )
    all_files.names = [*join(dict.fromkeys(files.shown(), "") for _, files in parts)]
    return all_files


def _file(
    logged: tuple[Artifact, ...], otherwise: Callable[[str], Path] | None, owner: object = None
) -> LoggedFile:
    """Describe what was logged under one name.

    Args:
        logged: The latest last.
        otherwise: Finds the latest one where its file is gone.
        owner: What the files live as long as.
    """
    described: tuple[LoggedFile, ...] = ()
    for artifact in logged:
        is_latest = artifact is logged[-1]
        one = LoggedFile(
            name=artifact.name,
            kind=artifact.kind,
            size=_size(artifact.path),
            media_type=artifact.media_type,
            step=artifact.step,
            logged_at=moment(artifact.timestamp) if artifact.timestamp else None,
            earlier=described if is_latest else (),
            find=partial(_path, artifact, otherwise if is_latest else None, owner),
        )
        described = (*described, one)
    return described[-1]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # deleted meanwhile
        return 0


def _path(artifact: Artifact, otherwise: Callable[[str], Path] | None, _: object) -> Path:
    if artifact.path.is_file():
        return artifact.path
    if otherwise is None:
        raise ArtifactNotFoundError(f"the content of artifact {artifact.name!r} is gone")
    return otherwise(artifact.name)


def _files(tracker: HeldElsewhere) -> dict[str, LoggedFile]:
    return {name: _file(files, None, tracker) for name, files in tracker.artifacts.items()}


def _latest(tracker: HeldElsewhere, run: str, name: str) -> Path:
    """Give the file of what was logged last under a name."""
    records = tracker.artifacts.get(name) or tracker.artifacts.get(sent_name(name))
    if not records:
        raise ArtifactNotFoundError(f"run {run!r}: no tracker has its artifact {name!r}")
    return records[-1].path
