"""Which run do W&B's own calls get in a step, and what of a call's arguments counts?

They get an offline run of the SDK's in the run's folder, whether or not the server is there:
nothing that the step calls waits for the network. The first run that the step's code begins is the
step's own; what it begins when that has ended, or beside it, are child runs.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any, Literal

import attrs

from trackyard.contract import Capture, Run, process_values
from trackyard_wandb.alone import refuse_server
from trackyard_wandb.native_calls import native_folder, note_finished
from trackyard_wandb.places import Place
from trackyard_wandb.state import save_state
from trackyard_wandb.written_down import WrittenDown

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger("trackyard")

# Fields of `wandb.Settings` that a call may not choose, as they say where a run is.
_OF_PLACE = {"mode", "root_dir", "project", "entity", "run_id", "base_url", "api_key", "reinit",
             "resume", "resume_from", "fork_from", "force"}  # fmt: skip
# Likewise arguments of `wandb.init`.
_NOT_TAKEN = ("resume", "resume_from", "fork_from", "force")


@attrs.define(eq=False)
class Step:
    """A run of Trackyard's that is active, as W&B's calls meet it.

    Attributes:
        run: The run.
        place: Its names in W&B.
        settings: Fields of `wandb.Settings`, as the tracker's configuration has them.
        capture: Takes the runs that the code begins beside it, or None.
        is_source: W&B has no run of it: where the code wants it there does not matter.
        thread, process: Those of the step.
        sdk_init: W&B's own `wandb.init`.
    """

    run: Run
    place: Place
    settings: Mapping[str, Any]
    capture: Capture | None
    is_source: bool = False
    thread: int = attrs.field(factory=get_ident)
    process: int = attrs.field(factory=os.getpid)
    sdk_init: Callable[..., wandb.Run] | None = None
    _begun: list[_Native] = attrs.field(factory=list)
    _others: list[wandb.Run] = attrs.field(factory=list)
    _service: str = ""
    _had_service: bool = attrs.field(factory=lambda: "WANDB_SERVICE" in os.environ)
    _id_before: str | None = attrs.field(factory=lambda: os.environ.get("WANDB_RUN_ID"))
    _patches_tensorboard: bool = False
    _is_implicit: bool = False
    _is_over: bool = False
    _said: set[str] = attrs.field(factory=set)
    _lock: Any = attrs.field(factory=RLock)

    def native(self) -> wandb.Run:
        """Give the SDK's run that is the step's, and begin it where no call has done so."""
        import_module("wandb")  # which sets `sdk_init`
        with self._lock, self._as_it_was():
            if self._is_over:
                raise RuntimeError(f"the run {self.run.name!r} has ended; log to it before that")
            if self._own() is None:
                self._is_implicit = True
                self._begin_own(_Asked({}), {"console": "off"})
            own = self._own()
            assert own is not None
            return own.sdk

    def init(self, given: Mapping[str, Any]) -> wandb.Run:
        """Do what `wandb.init` does.

        Args:
            given: Its arguments by name.

        Raises:
            UsageError: It says that it is to be online, where W&B is only captured.
        """
        with self._lock, self._as_it_was():
            asked = _Asked(given)
            if self.is_source and asked.chosen_mode == "online":
                refuse_server('wandb.init(mode="online")')
            if asked.mode == "disabled":
                return self._aside(**{**given, "mode": "disabled"})
            return self._next(asked, given)

    def login(self, login: Callable[..., bool], *arguments: Any, **keywords: Any) -> bool:
        """Do what `wandb.login` does without network: it asks nothing, the tracker has the key.

        Args:
            login: W&B's own function.
            *arguments: Its arguments.
            **keywords: Likewise.
        """
        with self._lock, self._as_it_was():
            settings = import_module("wandb").setup().settings
            with process_values({}, [(settings, "mode", "offline")]):
                return login(*arguments, **keywords)

    def _next(self, asked: _Asked, given: Mapping[str, Any]) -> wandb.Run:
        """Give the run that a call of `wandb.init` gets."""
        active = [one for one in self._begun if not one.has_ended]
        if active and self._is_implicit:
            self._is_implicit = False
            return _with_arguments(active[0].sdk, given)
        sweep = self._sweep_of(asked)
        if active and not (asked.is_another or sweep):
            return active[-1].sdk  # as the SDK does, which drops the arguments
        if asked.ends_others:
            for one in reversed(active):
                one.sdk.finish()
        own = self._own()
        goes_on = own is not None and own.has_ended and asked.id == self.place.id
        if goes_on or (own is None and sweep is None):
            return self._begin_own(asked, {})
        return self._begin_child(asked, sweep)

    def leave(self) -> None:
        """End what the code has left open."""
        with self._lock:
            self._is_over = True
            for other in self._others:
                other.finish()
            if self._patches_tensorboard:  # for the process, else: rows would lose their steps
                import_module("wandb.integration.tensorboard").unpatch()
            for one in reversed(self._begun):
                if not one.has_ended:
                    try:
                        one.sdk.finish(exit_code=0)
                    except Exception as error:  # what it had written is there
                        logger.debug("W&B's own run cannot be finished: %s", error)
                one.end(0)

    def follow_in_child(self) -> None:
        """Let a child that was forked from the step's process log to its runs, as alone it could.

        It finds the SDK's service by a variable, which is not there for other programs.
        """
        if self._service:
            os.environ["WANDB_SERVICE"] = self._service
        for one in self._begun:
            if one.written is not None and not one.has_ended:
                one.written.go_on_in_child()

    def _begin_own(self, asked: _Asked, settings: Mapping[str, Any]) -> wandb.Run:
        self._say_what_is_not_taken(asked)
        native = self._begin(asked, self.run.folder, self.place.id, self.place.name, settings)
        native.capture = self.capture
        self._begun = [native, *(one for one in self._begun if one.is_child)]  # also if it goes on
        return native.sdk

    def _begin_child(self, asked: _Asked, sweep: str | None) -> wandb.Run:
        """Begin a run that becomes a child run, with all that it logs."""
        name = asked.of("name", "run_name") or f"{self.run.name}-{len(self._begun) + 1}"
        own_id = asked.id if asked.id not in self._ids() else None
        if own_id is None and asked.id:
            self._say("id", f"has made a run of the id {asked.id!r}: this one gets one of its own")
        folders: list[Path] = []

        def adopt(folder: Path) -> None:
            folders.append(folder)
            if own_id:
                save_state(folder, id=own_id, sweep=sweep)

        child = self.capture.start_run(str(name)[:128], adopt) if self.capture else None
        if child is None:
            self._say("child", "begins a run that no other tracker gets: see wandb/offline-run-*")
            return self._aside(**{**asked.arguments, "mode": "offline"})
        folder = folders[0]
        native = self._begin(asked, folder, own_id or folder.parent.name, str(name), {})
        native.capture, native.is_child = child, True
        self._begun.append(native)
        return native.sdk

    def _own(self) -> _Native | None:
        """Give the SDK's run that is the step's, if one has been begun."""
        return next((one for one in self._begun if not one.is_child), None)

    def _sweep_of(self, asked: _Asked) -> str | None:
        """Give the sweep whose agent, which runs in this step, has begun a trial; else None."""
        is_trial = asked.id not in (None, self.place.id, self._id_before)
        return os.environ.get("WANDB_SWEEP_ID") if is_trial else None

    def _ids(self) -> set[str]:
        return {one.id for one in self._begun}

    def _begin(
        self, asked: _Asked, folder: Path, id: str, name: str, settings: Mapping[str, Any]
    ) -> _Native:
        """Begin a run of the SDK's in a folder of a run."""
        import wandb

        native_to = native_folder(folder)
        native_to.mkdir(parents=True, exist_ok=True)
        place = self.place
        group = (
            place.group or self.run.group or (self.run.id if folder != self.run.folder else None)
        )
        own = {
            "id": id,
            "entity": place.entity,
            "project": place.project,
            "name": asked.of("name", "run_name") or name,
            "group": asked.of("group", "run_group") or group,
            "job_type": asked.of("job_type", "run_job_type") or place.job_type,
            "tags": list(dict.fromkeys([*place.tags, *(asked.of("tags", "run_tags") or ())])),
            "settings": wandb.Settings(**{**settings, **_defaults(), **self.settings, **asked.own}),
            "dir": native_to,
            "mode": "offline",
            "reinit": "create_new" if asked.is_beside or _others_run(self) else "return_previous",
        }
        arguments = {k: v for k, v in asked.arguments.items() if k not in _NOT_TAKEN}
        note_finished(native_to, None)
        # The rows of TensorBoard's files are made by the SDK's service, and are in its file alone.
        is_of_service = asked.of("sync_tensorboard", "sync_tensorboard")
        is_of_service = is_of_service or asked.arguments.get("tensorboard")
        written = None if is_of_service else WrittenDown(native_to)
        if is_of_service and not wandb.patched["tensorboard"]:
            self._patches_tensorboard = True
        try:
            sdk = self._init(**{**arguments, **own})
        except BaseException:
            if written is not None:
                written.end()
            raise
        if written is not None:
            written.begin(sdk, self.run.started_at)
        native = _Native(sdk, id, native_to, written)
        native.watch()
        return native

    def _init(self, **arguments: Any) -> wandb.Run:
        assert self.sdk_init is not None, "it is there once W&B is imported"
        return self.sdk_init(**arguments)

    def _aside(self, **arguments: Any) -> wandb.Run:
        """Begin a run that is none of Trackyard's."""
        self._others.append(self._init(**arguments))
        return self._others[-1]

    @contextmanager
    def _as_it_was(self) -> Iterator[None]:
        """Leave the process as it was: the SDK takes over two hooks, and tells of its service.

        Programs that the step starts would share it, and it says of all that they have finished.
        """
        hooks = sys.excepthook, sys.exit
        try:
            with process_values({"WANDB_ERROR_REPORTING": "false"}, patience=1.0):
                yield
        finally:
            sys.excepthook, sys.exit = hooks
            self._service = os.environ.get("WANDB_SERVICE", self._service)
            if not self._had_service:
                os.environ.pop("WANDB_SERVICE", None)

    def _say_what_is_not_taken(self, asked: _Asked) -> None:
        place = self.place
        for name, here in (("project", place.project), ("entity", place.entity)):
            other = asked.arguments.get(name)
            if other and here and other != here and not self.is_source:
                table = f"[experiment_trackers.{self.run.folder.name}]"
                self._say(name, f"names the {name} {other!r}, the step's run is in {here!r}; "
                                f'to have it there: {name} = "{other}" in {table}')  # fmt: skip
        if asked.arguments.get("id") not in (None, place.id):
            self._say("id", f"names the id {asked.id!r}, the step's run has {place.id!r}")
        if asked.arguments.get("dir"):
            self._say("dir", "names a folder; W&B's files are in the run's folder")
        for name in ("resume_from", "fork_from"):
            if asked.arguments.get(name):
                self._say(name, f"says {name}, which needs W&B's server: it is passed over")

    def _say(self, what: str, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            logger.warning("run %r: wandb.init %s", self.run.name, text)


@attrs.define(eq=False)
class _Native:
    """A run of the SDK's.

    Attributes:
        sdk: The SDK's object.
        id: Its id in W&B.
        folder: Where the SDK writes.
        written: What its calls send; None where that is in the SDK's file alone.
        capture: Takes what it logs, or None.
        is_child: It is a child run, not the step's own.
        has_ended: The SDK's run has finished.
        process: That of the step; children are forked from it.
    """

    sdk: wandb.Run
    id: str
    folder: Path
    written: WrittenDown | None
    capture: Capture | None = None
    is_child: bool = False
    has_ended: bool = False
    process: int = attrs.field(factory=os.getpid)

    def watch(self) -> None:
        """Take notice when the SDK's run finishes, by whichever call."""
        original: Callable[..., None] = self.sdk._finish  # noqa: SLF001 - all ways end there

        def finish(exit_code: int | None = None) -> None:
            try:
                original(exit_code)
            finally:
                if os.getpid() == self.process:
                    self.end(exit_code)

        vars(self.sdk)["_finish"] = finish

    def end(self, exit_code: int | None) -> None:
        """Note that it has finished, and how."""
        if self.has_ended:
            return
        self.has_ended = True
        if self.written is not None:
            self.written.end()
        note_finished(self.folder, exit_code or 0)
        status: Literal["finished", "failed"] = "failed" if exit_code else "finished"
        if self.capture is None:
            return
        if self.is_child:
            self.capture.end_run(status)
        elif exit_code:
            self.capture.set_status(status)


class _Asked:
    """What a call of `wandb.init` asks for, by its arguments, its settings or variables.

    Args:
        given: The arguments by name.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        import wandb

        settings = given.get("settings") or {}
        if not isinstance(settings, Mapping):
            settings = {name: getattr(settings, name) for name in settings.model_fields_set}
        self._settings: Mapping[str, Any] = settings
        self._of_process = wandb.setup().settings
        self.arguments = {k: v for k, v in given.items() if v is not None and k != "settings"}
        self.own = {key: value for key, value in settings.items() if key not in _OF_PLACE}
        self.mode = self.of("mode", "mode")
        self.chosen_mode = self.arguments.get("mode") or settings.get("mode")
        self.id = self.of("id", "run_id")
        reinit = self.of("reinit", "reinit")
        self.is_beside = reinit == "create_new"
        self.ends_others = reinit in (True, "finish_previous") or (
            reinit in (None, "default") and _in_notebook()
        )
        self.is_another = self.is_beside or self.ends_others

    def of(self, argument: str, setting: str) -> Any:
        """Give a value as the SDK finds it, or None."""
        if argument in self.arguments:
            return self.arguments[argument]
        if setting in self._settings:
            return self._settings[setting]
        return getattr(self._of_process, setting, None)


def _with_arguments(native: Any, given: Mapping[str, Any]) -> Any:
    """Let a run that a log call has begun have the arguments of the first call of `init`."""
    if given.get("config"):
        native.config.update(given["config"], allow_val_change=True)
    native.tags = tuple(dict.fromkeys([*(native.tags or ()), *(given.get("tags") or ())]))
    for name in ("name", "notes"):
        if given.get(name):
            setattr(native, name, given[name])
    return native


def _defaults() -> dict[str, Any]:
    import wandb

    # What the SDK's service writes by itself is read while it grows; 15 seconds are the default.
    flush = "x_transaction_log_flush_interval"
    often = {flush: 0.1} if flush in wandb.Settings.model_fields else {}
    return {"silent": True, **often}


def _others_run(step: Step) -> bool:
    """Tell whether the SDK's current run is another one than this step's."""
    import wandb

    return wandb.run is not None and all(wandb.run is not one.sdk for one in step._begun)  # noqa: SLF001


def _in_notebook() -> bool:
    try:
        from wandb.sdk.lib.ipython import in_notebook
    except ImportError:
        return False
    return bool(in_notebook())
