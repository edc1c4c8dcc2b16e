"""Which experiment do Comet's own calls get in a step?

All of the SDK's ways to begin one, `start` and the four classes, end in the `__init__` of a class.
While runs are active, the first experiment that a step's code begins is the step's own, with the
arguments of that call, and later ones are child runs. This file is imported after Comet only.
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import attrs
from comet_ml import (
    ExistingExperiment,
    ExistingOfflineExperiment,
    Experiment,
    OfflineExperiment,
)
from comet_ml.comet_start import experiment_factory
from comet_ml.comet_start.config_manager import ConfigurationManager
from comet_ml.config import config_api
from comet_ml.messages import CloseMessage

from trackyard.contract import Capture, Run, process_values, step_of_caller
from trackyard_comet.archive import load_state, native_folder
from trackyard_comet.captured_tables import note_table

logger = logging.getLogger("trackyard")

_CLASSES = (Experiment, ExistingExperiment, OfflineExperiment, ExistingOfflineExperiment)
_ONLINE = (Experiment, ExistingExperiment)
# What the SDK does of its own accord once an experiment is begun.
_OFF = (
    "log_code", "log_graph", "auto_param_logging", "auto_metric_logging", "parse_args",
    "auto_output_logging", "log_env_details", "log_git_metadata", "log_git_patch",
)  # fmt: skip
_KNOWN = frozenset(inspect.signature(OfflineExperiment.__init__).parameters)
_HANDLED = frozenset(("self", "kwargs", "api_key", "experiment_key", "offline_directory"))
# Seconds in which the SDK's thread writes what it still has.
_PATIENCE = 10.0


@attrs.define(eq=False)
class Step:
    """A run that is active, as Comet's calls meet it.

    Attributes:
        run: The run.
        place: Its workspace and project.
        capture: Makes child runs, or None.
        thread, process: Those of the step.
        own: Its experiment.
        is_taken: The code has begun an experiment, and got this one.
        children: Those that it has begun besides.
        name: What the call that is under way names the experiment.
        said: The arguments that do not count, of which a line has told.
    """

    run: Run
    place: tuple[str | None, str]
    capture: Capture | None
    thread: int = attrs.field(factory=threading.get_ident)
    process: int = attrs.field(factory=os.getpid)
    own: Any = None
    is_taken: bool = False
    children: list[Any] = attrs.field(factory=list)
    name: str | None = None
    said: set[str] = attrs.field(factory=set)


_steps: list[Step] = []
_lock = threading.Lock()
_evaluate = ConfigurationManager.evaluate_running_experiment
_create = ConfigurationManager.get_or_create_experiment
_exists = experiment_factory.check_experiment_already_exists
_begin_offline = OfflineExperiment.__init__


class RunExperiment(OfflineExperiment):  # type: ignore[misc]  # it is Any here
    """Comet's offline experiment, in a folder of a run's instead of a temporary one."""

    def begin(self, place: Path, key: str, options: Mapping[str, Any]) -> None:
        """Begin it, or once more: as the code wants it that gets it.

        Args:
            place: Where it writes, in the tracker's folder of the run.
            key: The run's id.
            options: As the SDK's own classes have them.
        """
        before: dict[str, Any] = self.__dict__
        before["_begun"] = before.get("streamer"), before.get("feature_toggles")
        before["_native"] = place
        place.mkdir(parents=True, exist_ok=True)
        tags = before.get("tags") or set()
        if before.get("_atexit_hook") is not None:
            before["_atexit_hook"].disable()
        known = {name: options[name] for name in _KNOWN & options.keys() - _HANDLED}
        with quiet():
            _begin_offline(self, experiment_key=key, offline_directory=str(place.parent), **known)
            self.tags |= tags
            # The SDK's empty placeholder of an archive.
            (place.parent / f"{key}.zip").unlink(missing_ok=True)
            if options.get("optimizer_data") is not None:
                self._set_optimizer_from_data(options["optimizer_data"])

    @property
    def url(self) -> str | None:
        """Give the address that the tracker has heard of, if it has."""
        url: str | None = load_state(self._native.parent).get("url")
        return url

    def _setup_streamer(self) -> bool:
        Path(str(vars(self)["tmpdir"])).rmdir()  # new, and empty
        self.tmpdir = str(self._native)
        streamer, toggles = self._begun
        if streamer is None:
            return bool(super()._setup_streamer())
        self.streamer, self.feature_toggles = streamer, toggles
        return True

    def _on_end(self, wait: bool = True) -> bool:  # noqa: ARG002 - the rest would be lost
        is_clean = bool(super()._on_end(True))
        child: Capture | None = vars(self).get("_child")
        if child is not None:
            child.end_run()
        return is_clean

    def _streamer_wait_for_finish(self) -> bool:
        # It waits a second for a message before it sees the end.
        self.streamer.messages.put(CloseMessage())
        self.streamer.join(_PATIENCE)
        return bool(super()._streamer_wait_for_finish())

    def log_table(
        self, filename: str, tabular_data: Any = None, headers: Any = False, **options: Any
    ) -> Any:
        """Log a table, and note for the journal what is in it.

        Args:
            filename: As the SDK has it.
            tabular_data: Likewise.
            headers: Likewise.
            **options: Likewise.
        """
        note_table(self._native, filename, tabular_data, headers)
        return super().log_table(filename, tabular_data, headers, **options)

    def add_tags(self, tags: list[str]) -> Any:
        is_added = super().add_tags(tags)
        self._write_experiment_meta_file()  # kept only in memory otherwise
        return is_added

    def add_tag(self, tag: str) -> Any:
        return self.add_tags([tag])

    def _mark_as_ended(self) -> None:
        """Write no archive: what is in the folder becomes part of the run's."""
        self._write_experiment_meta_file()


@contextmanager
def active(step: Step) -> Iterator[Any]:
    """Have Comet's own calls land in a run inside a block; gives its experiment.

    Args:
        step: The run.
    """
    attributes: list[tuple[object, str, Any]] = [
        (experiment_factory, "check_experiment_already_exists", exists),
        (ConfigurationManager, "evaluate_running_experiment", evaluate),
        (ConfigurationManager, "get_or_create_experiment", create),
        *((cls, "__init__", wrapper) for cls, wrapper in _WRAPPERS.items()),
    ]
    with ExitStack() as held:
        held.enter_context(process_values({}, attributes))
        step.own = RunExperiment.__new__(RunExperiment)
        with _unseen():  # the SDK ends the experiment before when a new one is begun
            quietly = {**dict.fromkeys(_OFF, False), "display_summary_level": 0}
            step.own.begin(native_folder(step.run), step.run.id, quietly)
        step.own.name = step.run.name
        step.own.disable_mp()  # auto-logging of other SDKs, where Comet was imported before
        _steps.append(step)
        held.callback(_leave, step)
        yield step.own


def _leave(step: Step) -> None:
    """End what the step's code has left open."""
    _steps.remove(step)
    with quiet():
        for experiment in (*step.children, step.own):
            experiment.end()
    if config_api.get_global_experiment() in (*step.children, vars(step.own).get("_shown")):
        config_api.set_global_experiment(step.own)  # so that what was there before comes back


def _beginning(cls: type) -> Callable[..., None]:
    """Make the `__init__` of one of the SDK's classes."""
    original: Callable[..., None] = vars(cls)["__init__"]
    parameters = inspect.signature(original)

    @wraps(original)
    def begin(self: Any, *arguments: Any, **keywords: Any) -> None:
        step = step_of_caller(_steps) if type(self) is cls else None
        if step is None:
            original(self, *arguments, **keywords)
            return
        options = dict(parameters.bind(self, *arguments, **keywords).arguments)
        options |= options.pop("kwargs", {})
        if _is_disabled(options):  # nothing is logged then, and the step's run waits for another
            with _unseen() if not step.is_taken else ExitStack():
                original(self, *arguments, **keywords)
            return
        if not _begin_in(step, self, options, is_online=cls in _ONLINE):
            original(self, *arguments, **keywords)

    return begin


def _begin_in(step: Step, experiment: Any, options: dict[str, Any], *, is_online: bool) -> bool:
    """Have an experiment that the code begins be one of a step's; False where that cannot be."""
    with _lock:
        is_first, step.is_taken = not step.is_taken, True
    _say_what_does_not_count(step, options)
    if is_first:
        experiment.__class__ = RunExperiment
        experiment.__dict__ = vars(step.own)  # also what `native_run` has given is this one
        vars(experiment)["_shown"] = experiment
        name = experiment.name
        with _unseen():
            experiment.begin(native_folder(step.run), step.run.id, options)
        experiment.name = name
        config_api.set_global_experiment(experiment)
    elif not _begin_child(step, experiment, options):
        return False
    asked = options.get("previous_experiment") or options.get("experiment_key")
    vars(experiment).update(_asked_key=asked, _is_online=is_online)
    experiment.api_key = options.get("api_key") or experiment.api_key
    experiment.offline_directory = options.get("offline_directory") or experiment.offline_directory
    return True


def _begin_child(step: Step, experiment: Any, options: dict[str, Any]) -> bool:
    folders: list[Path] = []
    name = step.name or f"{step.run.name}-{len(step.children) + 2}"
    before = config_api.get_global_experiment()
    if before is not None:
        before._on_end(wait=True)  # noqa: SLF001 - as the SDK does a moment later
    child = step.capture and step.capture.start_run(name, folders.append)
    if not child:
        return False
    (folder,) = folders
    experiment.__class__ = RunExperiment
    vars(experiment)["_child"] = child
    experiment.begin(folder / "native", folder.parent.name, options)
    experiment.name = name
    step.children.append(experiment)
    return True


def _say_what_does_not_count(step: Step, options: Mapping[str, Any]) -> None:
    """Say once which arguments of a call name another place than the run's."""
    workspace, project = step.place
    given = {
        "project_name": options.get("project_name") not in (None, project),
        "workspace": options.get("workspace") not in (None, workspace),
        "experiment_key": options.get("experiment_key") not in (None, step.run.id),
        "previous_experiment": options.get("previous_experiment") is not None,
        "offline_directory": _is_own_folder(options.get("offline_directory")),
    }
    astray = [name for name, is_astray in given.items() if is_astray and name not in step.said]
    step.said.update(astray)
    if astray:
        logger.warning(
            "Comet's own calls say %s: the run keeps its key, and stays in %s; set `workspace` and "
            "`project` in the tracker's table to have it elsewhere",
            ", ".join(f"{name}={options[name]!r}" for name in astray),
            f"{workspace}/{project}" if workspace else project,
        )


def _is_own_folder(folder: str | None) -> bool:
    return folder is not None and Path(folder).name != ".cometml-runs"


def _is_disabled(options: Mapping[str, Any]) -> bool:
    config = config_api.get_config()
    switch = "comet.auto_log.disable"
    return bool(config.get_bool(options.get("disabled"), switch, False, not_set_value=False))


def exists(init_parameters: Any) -> bool:
    """Tell, without a server, whether an experiment is there: one that has to be is the step's.

    Args:
        init_parameters: What the code has given to `start`.
    """
    if step_of_caller(_steps) is None:
        return bool(_exists(init_parameters))
    return bool(init_parameters.is_get())


def evaluate(self: Any, experiment: Any) -> Any:
    """Give the experiment that runs, where `start` asks for no other than that.

    Args:
        self: The SDK's own object.
        experiment: The one that runs.
    """
    step = step_of_caller(_steps)
    if step is None or not isinstance(experiment, RunExperiment):
        return _evaluate(self, experiment)
    if not step.is_taken:
        return None  # begun by nobody yet
    asked, known = self.init_parameters, vars(experiment)
    key, is_online = asked.experiment_key, asked._online  # noqa: SLF001
    try:
        if key == known.get("_asked_key"):
            asked.experiment_key = experiment.get_key()
        if is_online == known.get("_is_online"):
            asked._online = None  # noqa: SLF001
        return _evaluate(self, experiment)
    finally:
        asked.experiment_key, asked._online = key, is_online  # noqa: SLF001


def create(self: Any) -> Any:
    """Begin an experiment as `start` does, and know meanwhile how it will be named.

    Args:
        self: The SDK's own object.
    """
    step = step_of_caller(_steps)
    if step is None:
        return _create(self)
    step.name = self.experiment_config.name
    try:
        return _create(self)
    finally:
        step.name = None


@contextmanager
def _unseen() -> Iterator[None]:
    """Have the SDK not see the experiment before, which it would end."""
    before = config_api.get_global_experiment()
    config_api.set_global_experiment(None)
    try:
        yield
    finally:
        config_api.set_global_experiment(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the SDK from telling each step what it does."""
    sdk = logging.getLogger("comet_ml")
    level = sdk.level
    sdk.setLevel(logging.ERROR)
    try:
        yield
    finally:
        sdk.setLevel(level)


_WRAPPERS: dict[type, Callable[..., None]] = {cls: _beginning(cls) for cls in _CLASSES}
