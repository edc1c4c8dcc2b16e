"""How does an attempt get to another process, and its outcome back?

A parcel is bytes. The driver holds the run, carries it to its trackers and writes its end; another
process adds journal files of its own to the run's folder, as children do. A machine that does not
see that folder writes them into one of its own, from where an orchestrator ships them.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, cast

import attrs

from trackyard.console.options import ConsoleOptions, load_console_options
from trackyard.contract.errors import ConfigError, PipelineError
from trackyard.contract.materializers import StoredOutput
from trackyard.contract.orchestrators import Outcome
from trackyard.contract.records import Run
from trackyard.hooks.discovery import load_materializers, load_plugins
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.hooks.managers import NamedPlugins
from trackyard.journal.descriptions import RunDescription, load_description, run_for
from trackyard.journal.durability import load_journal_options
from trackyard.outputs.artifact_store import ArtifactStore
from trackyard.outputs.formats import Materializers
from trackyard.outputs.keeping import KeptOutputs
from trackyard.pipelines.attempts import Attempt, perform, stored_in
from trackyard.project.configuration import Project
from trackyard.project.sources import select_sources
from trackyard.project.trackers import Trackers
from trackyard.redaction.redactor import Redactor
from trackyard.system.files import make_private_folder
from trackyard.system.interruption import termination_as_exit
from trackyard.tracking.collecting import tell_place
from trackyard.tracking.context import load_context_options
from trackyard.tracking.params import load_param_options
from trackyard.tracking.tracked_runs import TrackedRun


@attrs.frozen(eq=False)
class Parcel:
    """An attempt and what another process needs to know beside it.

    Attributes:
        attempt: The attempt.
        project: The project of the pipeline run.
        folder: The run's folder.
        urls: The run's addresses as they are known by now, by tracker name.
        active: Names of the trackers whose SDKs may write the run from that process.
        artifact_store: URL of the artifact store.
        is_trusted: Whether its pickles are loaded.
        waiting: URIs of outputs that it does not have yet, and that wait on the driver's machine.
        description: The run and its trackers, as they stand in the folder.
    """

    attempt: Attempt
    project: Project
    folder: Path
    urls: Mapping[str, str]
    active: frozenset[str]
    artifact_store: str
    is_trusted: bool | None
    waiting: frozenset[str] = frozenset()
    description: RunDescription | None = attrs.field()

    @description.default
    def _described(self) -> RunDescription | None:
        return load_description(self.folder)


def pack(parcel: Parcel) -> bytes:
    """Make bytes of a parcel; functions of a script or notebook travel by value.

    Before it goes where modules are found, without which it could not be unpacked.

    Raises:
        PipelineError: Something in it cannot be moved to another process.
    """
    import cloudpickle

    module = sys.modules.get(getattr(parcel.attempt.function, "__module__", None) or "")
    by_value = module if module is not None and not _is_importable(module) else None
    if by_value is not None:
        cloudpickle.register_pickle_by_value(by_value)
    try:
        return pickle.dumps((sys.path, cloudpickle.dumps(parcel)))
    except Exception as error:  # objects decide for themselves how they fail
        raise PipelineError(
            f"step {parcel.attempt.run.name!r} cannot be moved to another process: "
            f"{type(error).__name__}: {error}"
        ) from error
    finally:
        if by_value is not None:
            cloudpickle.unregister_pickle_by_value(by_value)


def run_packed(
    packed: bytes,
    shipped: Callable[[], AbstractContextManager[Path]] | None = None,
    *,
    is_relayed: bool = False,
    has_own_files: bool = False,
) -> bytes:
    """Run a packed attempt in this process; give its packed outcome. Nothing is raised.

    A process may run many, one at a time, and from its main thread where it can: there SIGTERM and
    a timeout interrupt the step wherever it is. What a step does to the environment or the working
    directory is undone behind it.

    Args:
        packed: What `Job.pack` gave.
        shipped: Where this machine does not see the run's folder: gives another one, whose
            journal is shipped to it until the context ends, as `shipped_journal` does.
        is_relayed: What this process prints is kept by the one that started it.
        has_own_files: Its stdout and stderr are files that no other process prints to: what its
            code of C and its programs write there is kept, too.
    """
    printing = _Printing(is_relayed, has_own_files)
    with _surroundings_as_they_were():
        return _run_packed(packed, shipped, printing)


class _Printing(NamedTuple):
    """How a process prints, as `run_packed` gets it."""

    is_relayed: bool
    has_own_files: bool


def _run_packed(
    packed: bytes,
    shipped: Callable[[], AbstractContextManager[Path]] | None,
    printing: _Printing,
) -> bytes:
    import cloudpickle

    unsent: list[tuple[str, StoredOutput, bytes]] = []
    try:
        path, content = pickle.loads(packed)  # noqa: S301 - the driver made it
        sys.path[:] = dict.fromkeys([*path, *sys.path])
        parcel: Parcel = cloudpickle.loads(content)
        if shipped is not None:
            check_artifact_store(parcel.artifact_store)
        with (
            shipped() if shipped is not None else nullcontext(parcel.folder) as folder,
            _home_of_kept(parcel, is_shipped=shipped is not None) as home,
        ):
            # SDKs go on in the run's folder, which is not here.
            active = parcel.active if shipped is None else frozenset[str]()
            parcel = attrs.evolve(parcel, folder=folder, active=active)
            if shipped is not None and parcel.description is not None:
                parcel = attrs.evolve(parcel, description=parcel.description.without_sources)
            kept = KeptOutputs(home)
            outcome = _run(parcel, kept, printing, is_shipped=shipped is not None)
            if shipped is not None:
                unsent = [(one.url, one.stored, one.path.read_bytes()) for one in kept]
    except Exception as error:  # the function's module may be missing here, or broken
        outcome = Outcome(failure=Redactor().failure(error), error=error)
    if outcome.error is not None:
        from trackyard.pipelines.travelling import Travelling  # cloudpickle, too

        travelling = Travelling(outcome.error, str(outcome.failure))
        outcome = attrs.evolve(outcome, error=travelling)
    return cast("bytes", cloudpickle.dumps((outcome, unsent)))


def unpack_outcome(packed: bytes, kept: KeptOutputs) -> Outcome:
    """Give the outcome that `run_packed` packed.

    Args:
        packed: What that gave.
        kept: Gets the outputs that the artifact store could not take from a machine which does
            not see this one's project.
    """
    import cloudpickle

    outcome, unsent = cloudpickle.loads(packed)
    for url, stored, content in unsent:
        kept.make_folder(stored.uri).write_bytes(content)
        kept.note(url, stored)
    return cast("Outcome", outcome)


def make_findable(artifact_store: str) -> None:
    """Make the artifact store's folder, so that machines which see it can tell."""
    folder = Path(artifact_store.removeprefix("file://"))
    if folder.is_absolute():
        with suppress(OSError):
            make_private_folder(folder)


def check_artifact_store(url: str) -> None:
    """Refuse a folder of another machine: what is stored there is found by nobody.

    Raises:
        ConfigError: It is one.
    """
    folder = Path(url.removeprefix("file://"))
    if folder.is_absolute() and not folder.is_dir():
        raise ConfigError(
            f"artifact_store: {folder} is not on the machine {platform.node()!r}, which runs the "
            "step; name a folder that every machine sees, or a URL such as s3://bucket/outputs"
        )


@contextmanager
def _home_of_kept(parcel: Parcel, *, is_shipped: bool) -> Iterator[Path]:
    """Give where outputs wait that the store does not take: the project's, where it is here."""
    if not is_shipped:
        yield parcel.project.home
        return
    with tempfile.TemporaryDirectory(prefix="trackyard-") as folder:
        yield Path(folder)


def _run(parcel: Parcel, kept: KeptOutputs, printing: _Printing, *, is_shipped: bool) -> Outcome:
    project = parcel.project
    artifacts = ArtifactStore(
        parcel.artifact_store,
        is_trusted=parcel.is_trusted,
        materializers=Materializers(load_materializers),
        home=project.home,
        kept=kept,
    )
    artifacts.waits_elsewhere = parcel.waiting
    for stored in stored_in(dict(parcel.attempt.arguments)):
        artifacts.trust(stored)
    console = None if printing.is_relayed else load_console_options(project)
    tracked = _joined(parcel, project, console)
    tracked.has_own_files = printing.has_own_files
    with termination_as_exit(tracked.note_signal):
        outcome = perform(parcel.attempt, tracked, artifacts)
    if is_shipped:  # the journal alone is
        tracked.log_console()
    tracked.leave()
    return attrs.evolve(outcome, lost=tracked.journal.unnoted)


@contextmanager
def _surroundings_as_they_were() -> Iterator[None]:
    """Let a step begin in no other run, and no later one see what it sets or where it goes."""
    environment, folder = dict(os.environ), _working_folder()
    for name in ("TRACKYARD_RUN_ID", "TRACKYARD_RUN_FOLDER"):  # the driver's own
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        if folder is not None:
            with suppress(OSError):  # it may be gone
                os.chdir(folder)


def _working_folder() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # it is gone
        return None


class _Activation:
    """A delivery that the driver carries out, as far as activating it here goes."""

    def __init__(self, hooks: TrackerHooks, run: Run, url: str | None) -> None:
        self.hooks = hooks
        self.run = run
        self.url = url


def _joined(parcel: Parcel, project: Project, console: ConsoleOptions | None) -> TrackedRun:
    """Open the driver's run in this process: its journal, and its activation."""
    description = parcel.description
    plugins: NamedPlugins = load_plugins()[0]
    trackers = Trackers(project)
    redactors, deliveries = [], {}
    for known in description.trackers if description else ():
        tracker = trackers.build(known.name, known.table, known.place)
        redactors.append(tracker.redactor)
        if known.name in parcel.active and description is not None:
            hooks = TrackerHooks(tracker.new_instance(), known.name, plugins)
            run = attrs.evolve(run_for(description, known, parcel.folder), attached=False)
            deliveries[known.name] = _Activation(hooks, run, parcel.urls.get(known.name))
    tracked = TrackedRun(
        parcel.attempt.run,
        parcel.folder,
        plugins,
        Redactor.joined(redactors),
        load_journal_options(project),
        params=load_param_options(project),
        console=console,
        role="worker",
    )
    tracked.deliveries.update(cast("Any", deliveries))
    sources = description.sources if description else ()
    tracked.join_sources(select_sources(trackers, [known.source for known in sources]))
    tell_place(tracked, load_context_options(project).parts)
    return tracked


def _is_importable(module: ModuleType) -> bool:
    """Tell whether a fresh process finds a module by its name."""
    if module.__name__ == "__main__":
        return True  # cloudpickle knows
    try:
        spec = importlib.util.find_spec(module.__name__.partition(".")[0])
    except (ImportError, ValueError):
        return False
    file = getattr(module, "__file__", None)
    if spec is None or file is None:
        return spec is not None
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""]
    return any(Path(file).resolve().is_relative_to(Path(place).resolve()) for place in places)
