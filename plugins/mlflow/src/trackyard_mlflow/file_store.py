"""What does a folder hold that MLflow 1, 2 or 3 wrote as its file store? Read by our own code.

MLflow's own class makes folders in it, takes a dataset's column for a step and raises on `50.0`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract import (
    Context,
    ImportNote,
    Metric,
    Param,
    Record,
    RemoteRun,
    RunQuery,
    Tag,
    TrackyardError,
    inside,
)
from trackyard_mlflow.foreign import (
    PARENT,
    RUN_NAME,
    SOURCE_RUN,
    STATUS_NAMES,
    USER,
    context_of,
    dataset_of,
    files_below,
    left_of,
    local_folder,
    remote_run,
    version_of,
)

_META = "meta.yaml"
_READ_FOR_LIST = (PARENT, RUN_NAME, USER, "trackyard.status", "trackyard.failure")
_RUN_ID = re.compile("[0-9a-f]{32}")
# Folders of a run.
_PARTS = ("params", "metrics", "tags", "artifacts", "inputs", "outputs")
# What stands beside the folders of experiments.
_NO_EXPERIMENTS = {".trash", "models", "traces"}
_MILLISECOND = 1_000_000


def is_file_store(root: Path) -> bool:
    """Tell whether a folder is a file store."""
    return root.is_dir() and any(_experiments(root))


@attrs.define
class FileStore:
    """A file store; nothing is written to it.

    Attributes:
        root: Its folder.
    """

    root: Path
    _folders: dict[str, Path] = attrs.field(factory=dict)
    _damaged: set[str] = attrs.field(factory=set)
    _versions: dict[str, list[tuple[Any, Any]]] | None = None
    _counted: dict[Path, Counter[str]] = attrs.field(factory=dict)

    def runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List its runs, without those that were deleted.

        Args:
            query: Which runs.

        Raises:
            TrackyardError: It is none.
        """
        if not is_file_store(self.root):
            raise TrackyardError(f"{self.root}: no experiment of MLflow's stands in this folder")
        for folder in _experiments(self.root):
            experiment = _meta(folder)
            name = str(experiment.get("name") or folder.name)
            if query.experiment not in (None, name):
                continue
            for run_folder in _folders(folder):
                run = self._listed(run_folder, name)
                if run is not None and query.fits(run):
                    yield run

    def _listed(self, folder: Path, experiment: str) -> RemoteRun | None:
        values = _meta(folder)
        if not values and not _RUN_ID.fullmatch(folder.name):
            return None  # what belongs to the experiment
        if values.get("lifecycle_stage") == "deleted":
            return None
        # The folder bears the id; of one in digits alone, YAML makes a number.
        run_id = folder.name
        self._folders[run_id] = folder
        if not values:
            self._damaged.add(run_id)  # said where it is read
            return RemoteRun(run_id, experiment=experiment)
        known = {"name": values.get("run_name") or values.get("name"), "experiment": experiment}
        status = values.get("status")
        word = STATUS_NAMES.get(status, "") if isinstance(status, int) else status
        tags = {key: text for key in _READ_FOR_LIST if (text := _text(folder / "tags" / key))}
        sizes = [*_sizes(folder)]
        return remote_run(
            run_id,
            {**values, **known, "status": word},
            tags,
            version_of(sorted(sizes)),
            sum(size for name, size, _ in sizes if name.startswith("metrics")),
        )

    def read(self, run_id: str, scratch: Path) -> Iterator[Record | ImportNote]:
        """Read a run that was listed.

        Args:
            run_id: MLflow's own id.
            scratch: Where files are written.
        """
        folder = self._folders[run_id]
        if run_id in self._damaged:
            raise TrackyardError(f"{folder / _META}: it is not there, or it is damaged")
        for part in _PARTS:
            if (folder / part).is_symlink():
                yield ImportNote(f"{part}: it is a link, which is not followed")
        tags = {name: text for name, path in _files(folder / "tags") if (text := _text(path))}
        yield from (Tag(key, value) for key, value in tags.items())
        context: Context = context_of(tags)
        yield context
        for name, path in _files(folder / "params"):
            yield Param(name, _text(path))
        for name, path in _files(folder / "metrics"):
            yield from _points(name, path)
        yield from self._artifacts(folder)
        yield from self._inputs(folder, scratch)
        yield from self._models(folder)
        yield from left_of(self._registered(run_id), self._traces(folder.parent)[run_id])

    def _artifacts(self, folder: Path) -> Iterator[Record | ImportNote]:
        here = folder / "artifacts"
        yield from files_below(here)
        uri = _meta(folder).get("artifact_uri")
        place = local_folder(uri)
        # A run's own folder, by the place where it once was, is the one that was read.
        is_own = place is not None and place.parts[-2:] == (folder.name, "artifacts")
        if uri and not is_own:
            yield ImportNote(f"artifacts in {uri}: they are not below the folder that is imported")

    def _inputs(self, folder: Path, scratch: Path) -> Iterator[Record | ImportNote]:
        for meta in _metas(folder / "inputs"):
            values = _yaml(meta)
            if values.get("source_type") != "DATASET":
                continue
            named = Path("datasets", str(values.get("source_id")), _META)
            found = inside(folder.parent, named)
            if found is None or not found.is_file():
                yield ImportNote(f"dataset {values.get('source_id')}: it is not in the store")
                continue
            context = (values.get("tags") or {}).get("mlflow.data.context")
            yield dataset_of(_yaml(found), context, scratch)

    def _models(self, folder: Path) -> Iterator[Record | ImportNote]:
        for meta in _metas(folder / "outputs"):
            model_id = str(_yaml(meta).get("destination_id") or meta.parent.name)
            place = inside(folder.parent / "models", Path(model_id))
            if place is None or not place.is_dir():
                yield ImportNote(f"model {model_id}: it is not in the store")
                continue
            name = str(_meta(place).get("name") or model_id)
            yield from files_below(place / "artifacts", f"{name}/", "model")

    def _registered(self, run_id: str) -> list[tuple[Any, Any]]:
        if self._versions is None:
            self._versions = {}
            for meta in sorted((self.root / "models").glob(f"*/version-*/{_META}")):
                values = _yaml(meta)
                of_run = self._versions.setdefault(str(values.get("run_id")), [])
                of_run.append((values.get("name"), values.get("version")))
        return self._versions.get(run_id, [])

    def _traces(self, experiment: Path) -> Counter[str]:
        """Count the traces of an experiment by their run."""
        if experiment not in self._counted:
            found = (experiment / "traces").glob(f"*/request_metadata/{SOURCE_RUN}")
            self._counted[experiment] = Counter(map(_text, found))
        return self._counted[experiment]


def _points(key: str, path: Path) -> Iterator[Record | ImportNote]:
    """Read a metric's file, a line for each point: 2, 3 or, with a dataset's, 5 fields."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            fields = line.split()
            try:
                moment, value = int(float(fields[0])), float(fields[1])
                step = int(float(fields[2])) if len(fields) in (3, 5) else 0
                if len(fields) not in (2, 3, 5):
                    raise ValueError("no point")
            except (ValueError, IndexError, OverflowError):
                if fields:
                    yield ImportNote(f"metric {key}: line {number} of its file is no point")
                continue
            yield Metric(key, value, step, moment * _MILLISECOND)


def _experiments(root: Path) -> Iterator[Path]:
    for folder in _folders(root):
        if folder.name not in _NO_EXPERIMENTS and (folder / _META).is_file():
            yield folder


def _folders(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    yield from (folder / name for name in names)


def _metas(folder: Path) -> Iterator[Path]:
    """Give the descriptions in the folders in a folder; links are left out."""
    for one in () if folder.is_symlink() else _folders(folder):
        if (one / _META).is_file() and not (one / _META).is_symlink():
            yield one / _META


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Give the files below a folder, with their names in it; links are left out."""
    if folder.is_symlink():
        return
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root) / name
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix(), path


def _sizes(folder: Path) -> Iterator[tuple[str, int, int]]:
    for name, path in _files(folder):
        status = path.stat()
        yield name, status.st_size, status.st_mtime_ns


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            return file.read()
    except OSError:
        return ""


def _meta(folder: Path) -> Mapping[str, Any]:
    return _yaml(folder / _META)


def _yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        with path.open("rb") as file:
            found = yaml.load(file, loader)  # noqa: S506 - it is a safe one
    except (OSError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}
