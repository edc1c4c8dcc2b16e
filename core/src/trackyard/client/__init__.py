"""How does a program do what the command line does: look at runs, register trackers and stacks?

What only some calls need is imported by them: `from trackyard import Client` stands in scripts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackyard.client.configuring import Configuring
from trackyard.client.searching import Searching
from trackyard.contract.errors import OutputNotFoundError, RunNotFoundError, TrackyardError
from trackyard.project.configuration import find_project
from trackyard.system.showing import ShownList

if TYPE_CHECKING:
    from trackyard.contract.records import Status
    from trackyard.delivery.reports import TrackerReport
    from trackyard.outputs.artifact_store import ArtifactStore
    from trackyard.recovery.importing import ImportedRun
    from trackyard.recovery.replay import ReplayPlan
    from trackyard.recovery.syncing import SyncRow
    from trackyard.runs.annotating import SentAnnotation
    from trackyard.runs.comparisons import Comparison
    from trackyard.runs.doctor import Diagnosis
    from trackyard.runs.exporting import ExportFormat
    from trackyard.runs.finding import FoundRun
    from trackyard.runs.garbage import CollectedRun
    from trackyard.runs.lists import RunSummary
    from trackyard.runs.pipeline_views import OutputVersion, PipelineRun
    from trackyard.runs.verifying import Verification
    from trackyard.runs.views import RunView
    from trackyard.store import PipelineRunRow, Store
    from trackyard.store.annotations import Annotation
    from trackyard.store.listing import SortKey

_OLD_NAMES = {"get_artifact": "get_output", "list_artifacts": "list_outputs"}


class Client(Configuring, Searching):
    """A project: its runs, experiment trackers and stacks.

    Args:
        path: A folder of the project; by default that of `TRACKYARD_PROJECT`, the working
            directory's, or the script's.

    Raises:
        ConfigError: The project's configuration is wrong.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        from trackyard.recovery.finishing import recover_in_background
        from trackyard.registry.registering import Registry

        self._start = Path(path or find_project().root).absolute()
        self._registry = Registry(self._start)
        self._home = self._project.home
        _ = self.active_stack  # a wrong configuration is said at once
        recover_in_background(self._project)

    # Outputs

    def get_output(self, name: str, version: int | None = None) -> OutputVersion:
        """Find a version of a step's output, the latest by default.

        Args:
            name: `<pipeline>.<step>.<output>`, or its last parts where they fit one name alone.
            version: From 1.

        Raises:
            OutputNotFoundError: There is no such output or version, or several names fit.
        """
        from trackyard.runs.pipeline_views import OutputVersion

        _check_output_name(name)
        _check_version(version)
        row = self._store.find_output(name, version)
        return OutputVersion(row, self._store, self._artifact_store, self._project)

    def list_outputs(self, name: str | None = None) -> list[OutputVersion]:
        """List all versions of an output, the latest first; or the latest version of each."""
        from trackyard.runs.pipeline_views import OutputVersion

        if name is not None:
            _check_output_name(name)
        rows = self._store.list_outputs(name)
        return [
            OutputVersion(row, self._store, self._artifact_store, self._project) for row in rows
        ]

    # Runs

    def get_pipeline_run(self, name_or_id: str) -> PipelineRun:
        """Find a pipeline run by its name or id, or by a prefix that fits it alone.

        Raises:
            RunNotFoundError: None fits, or several do.
        """
        return self._view(self._store.find_pipeline_run(name_or_id))

    def list_pipeline_runs(self, pipeline: str | None = None, most: int = 100) -> list[PipelineRun]:
        """List pipeline runs, the latest first.

        Args:
            pipeline: Only runs of the pipeline of this name.
            most: How many at most.
        """
        return [self._view(row) for row in self._store.list_pipeline_runs(pipeline, most)]

    def list_runs(
        self,
        pipeline: str | None = None,
        *,
        statuses: Iterable[str] = (),
        tracker: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        sort: SortKey = "started",
        is_ascending: bool = False,
        most: int = 100,
        skip: int = 0,
        parent: str | None = None,
        user: str | None = None,
        commit: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> list[RunSummary]:
        """List runs of pipelines and of `start_run` blocks, the latest first.

        Args:
            pipeline: Only runs of this pipeline, or of this experiment without one.
            statuses: Only runs with one of these.
            tracker: Only runs that use this experiment tracker.
            since: Only runs that started then or later.
            until: Only runs that started before then.
            sort: `started`, `ended`, `duration`, `name`, `pipeline` or `status`.
            is_ascending: Begin with the least.
            most: How many at most.
            skip: How many to pass over.
            parent: Only child runs of this run, or of its steps; they are not listed else.
            user: Only runs that this user made.
            commit: Only runs from a commit that begins so.
            tags: Only runs with these tags, on them or on one of their steps.

        Raises:
            RunNotFoundError: There is no run `parent`.
        """
        from trackyard.runs.finding import ids_with_steps
        from trackyard.runs.lists import ListedRuns, list_runs, nanoseconds
        from trackyard.store.listing import RunFilter

        start, end, some = nanoseconds(since), nanoseconds(until), tuple(statuses)
        parents = () if parent is None else ids_with_steps(self._project, parent)
        wanted = RunFilter(
            *(pipeline, some, tracker, start, end, sort, is_ascending, most, skip, parents),
            user=user,
            commit=commit,
            tags=tuple((tags or {}).items()),
        )
        return ListedRuns(list_runs(self._project, wanted), self._project)

    def get_run(self, name: str) -> RunView:
        """Show a run: its steps, params, metrics, curves, addresses and health.

        Of several runs of one name the latest is shown.

        Raises:
            RunNotFoundError: None fits, or a prefix fits several.
        """
        from trackyard.runs.finding import view_of

        return view_of(self._project, self._store_if_any, self._find(name))

    def compare_runs(self, *names: str) -> Comparison:
        """Compare runs: params that differ, metrics and curves side by side.

        Raises:
            RunNotFoundError: One is not there.
        """
        from trackyard.runs.comparisons import compare

        return compare([self.get_run(name) for name in names])

    def get_run_url(self, name: str, tracker: str | None = None) -> str:
        """Give the address of a run on its first tracker that has one, or on one of them.

        Args:
            name: The run.
            tracker: One of its trackers; the first that has an address by default.

        Raises:
            RunNotFoundError: The run, or its address, is not there.
        """
        urls = self.get_run(name).urls
        url = next(iter(urls.values()), None) if tracker is None else urls.get(tracker)
        if url is None:
            from trackyard.system.suggestions import listed

            where = f"on experiment tracker {tracker!r}" if tracker else "on any experiment tracker"
            raise RunNotFoundError(f"run {name!r} has no address {where}; it has {listed(urls)}")
        return url

    def export_runs(
        self, *names: str, file: str | Path, format: ExportFormat | None = None
    ) -> None:
        """Write runs with all points to a file, for other programs.

        Args:
            names: The runs.
            file: The file.
            format: `json`, `csv` or `parquet`; by the file's name where it is not given.

        Raises:
            RunNotFoundError: One is not there.
            TrackyardError: The format is unknown, or needs a package that is not installed.
        """
        from trackyard.runs.exporting import EXPORT_FORMATS, export_file, format_of
        from trackyard.system.suggestions import listed

        chosen = format or format_of(Path(file))
        if chosen not in EXPORT_FORMATS:
            raise TrackyardError(f"{file}: give a format: {listed(EXPORT_FORMATS)}")
        export_file([self.get_run(name) for name in names], Path(file), chosen)

    def set_tags(self, name: str, tags: Mapping[str, Any]) -> list[SentAnnotation]:
        """Set tags of a run after its start; the last value of a key counts.

        Args:
            name: The run.
            tags: Values by key.

        Returns:
            For each tracker of the run whether it has them.

        Raises:
            RunNotFoundError: None fits, or a prefix fits several.
            TrackyardError: They are no tags, or can be written nowhere.
        """
        from trackyard.runs.annotating import checked_tags
        from trackyard.store.annotations import Annotation

        return self._annotate(name, Annotation(tags=checked_tags(tags)))

    def set_note(self, name: str, note: str) -> list[SentAnnotation]:
        """Write a note about a run, in the place of the one before.

        Args:
            name: The run.
            note: A text of any length.

        Returns:
            For each tracker of the run whether it has it.

        Raises:
            RunNotFoundError: None fits, or a prefix fits several.
            TrackyardError: It can be written nowhere.
        """
        from trackyard.store.annotations import Annotation

        return self._annotate(name, Annotation(note=str(note)))

    def rename_run(self, name: str, to: str) -> list[SentAnnotation]:
        """Give a run another name; a step keeps the one that its pipeline gave it.

        Args:
            name: The run, by its name, id or prefix.
            to: Its new name.

        Returns:
            For each tracker of the run whether it has it.

        Raises:
            RunNotFoundError: None fits, or a prefix fits several.
            TrackyardError: The name is empty, or the run is a step.
        """
        from trackyard.store.annotations import Annotation

        if not str(to).strip():
            raise TrackyardError("a run's name is not empty")
        return self._annotate(name, Annotation(name=str(to)))

    def end_run(
        self, name: str, status: Status = "crashed", *, is_forced: bool = False
    ) -> list[SentAnnotation]:
        """End a run whose process is gone, here or on another machine of a team.

        Args:
            name: The run.
            status: How it ended: `crashed`, `failed`, `killed` or `finished`.
            is_forced: End also what gave a sign of life a moment ago.

        Returns:
            For each of its trackers whether it knows the end.

        Raises:
            RunNotFoundError: None fits, or a prefix fits several.
            TrackyardError: It lives, or has ended.
        """
        from trackyard.runs.ending import ENDS, end_run
        from trackyard.system.suggestions import listed

        if status not in ENDS:
            raise TrackyardError(f"no end {status!r}; there are {listed(ENDS)}")
        found, store = self._find(name), self._store_if_any
        return ShownList(end_run(self._project, store, found, status, is_forced=is_forced))

    def delete_run(self, name: str, *, is_forced: bool = False, with_outputs: bool = False) -> None:
        """Delete a run here; what trackers hold stays there.

        Args:
            name: The run.
            is_forced: Delete also what some tracker does not have, and outputs that others read.
            with_outputs: Delete its outputs in the active stack's artifact store, too, which stay
                there otherwise.

        Raises:
            RunNotFoundError: None fits, or several do.
            TrackyardError: It is running, some tracker does not have all of it, or other runs have
                read outputs that are to be deleted.
        """
        from trackyard.runs.deletion import delete_run

        delete_run(
            self._project,
            self._store_if_any,
            self._find(name),
            is_forced=is_forced,
            artifact_store=self._artifact_store if with_outputs else None,
        )

    def verify_run(
        self, name: str, tracker: str | None = None, *, timeout: float = 120.0
    ) -> list[Verification]:
        """Compare a run on its trackers, or on one, with its journal.

        Args:
            name: The run.
            tracker: One of its trackers; all by default.
            timeout: Seconds that a tracker may take for each run.

        Raises:
            RunNotFoundError: None fits.
            ConfigError: It is not on that tracker.
        """
        from trackyard.runs.verifying import verify_runs

        return ShownList(verify_runs(self._project, name, tracker, timeout=timeout))

    def verify_import(
        self, source: str, *names: str, tracker: str | None = None, timeout: float = 120.0
    ) -> list[Verification]:
        """Compare imported runs, here and on their trackers, with what their source holds now.

        Args:
            source: A configured tracker, or `flavor:place`.
            names: Names and ids of the runs; all of the source's without any.
            tracker: One of their trackers; all, and the journal, by default.
            timeout: Seconds that a tracker may take for each run.
        """
        from trackyard.runs.verifying_sources import verify_import

        found = verify_import(self._project, source, names, tracker, timeout=timeout)
        return ShownList(found)

    def sync(
        self,
        *,
        patience: float = 10.0,
        timeout: float | None = None,
        refused: bool = False,
        dead: str | None = None,
    ) -> list[SyncRow]:
        """Deliver what trackers lack, end dead runs, upload what SDKs keep offline.

        Runs of machines that are gone are ended where `[store] end_after` says after how long.

        Args:
            patience: Seconds to go on with a tracker that fails.
            timeout: Seconds for each tracker at most, or None.
            refused: Send once more what trackers have refused, too.
            dead: A run, or a pipeline run, that is dead, though nobody can see that from here.

        Raises:
            RunNotFoundError: None fits.
            TrackyardError: The process of that one lives.
        """
        from trackyard.recovery.declaring import declare_dead
        from trackyard.recovery.syncing import synchronise
        from trackyard.runs.ending import end_silent_runs
        from trackyard.runs.folders import find_runs

        if dead is not None:
            declare_dead(self._project, find_runs(self._project, dead))
        rows = synchronise(self._project, patience=patience, timeout=timeout, refused=refused)
        return ShownList([*rows, *end_silent_runs(self._project, patience=patience)])

    def accept_losses(self, name: str) -> list[SyncRow]:
        """Accept what trackers do not have of a run, or of all runs of a pipeline run.

        Args:
            name: The run, or a pipeline run.

        Raises:
            RunNotFoundError: None fits.
            TrackyardError: The run is still running, or a process is delivering it.
        """
        from trackyard.runs.accepting import accept_by_name

        return ShownList(accept_by_name(self._project, name))

    def import_runs(
        self,
        source: str,
        *,
        to: str | None = None,
        experiment: str | None = None,
        filter: str = "",
        since: datetime | None = None,
        runs: Iterable[str] = (),
        limit: int | None = None,
        is_plan: bool = False,
    ) -> list[ImportedRun]:
        """Make the runs of a tracker, or of an export, runs of this project; twice changes nothing.

        The source is only read. What of a run cannot be read is named in its row.

        Args:
            source: A configured tracker, or `flavor:place`: a folder, file or address.
            to: Send them on to this tracker, too.
            experiment: Only runs of this experiment, or project.
            filter: Only runs that fit it, as in `search_runs`.
            since: Only runs that started then or later.
            runs: Only runs of these names or ids.
            limit: So many runs at most.
            is_plan: Write nothing; say what would become of them.

        Raises:
            ConfigError: The source or the tracker is not known, or wrong.
            FilterError: The filter is wrong.
            TrackyardError: The source cannot be listed, or another import is under way.
        """
        from trackyard.recovery.importing import Wanted, import_runs
        from trackyard.runs.lists import nanoseconds

        wanted = Wanted(
            experiment=experiment,
            since=nanoseconds(since),
            limit=limit,
            runs=tuple(runs),
            filter=filter,
            to=to,
            is_plan=is_plan,
        )
        return ShownList(import_runs(self._project, source, wanted))

    def archive_runs(self, *names: str, file: str | Path) -> int:
        """Write runs into one file that `import_runs("archive:FILE")` reads; give how many.

        Args:
            names: The runs.
            file: The file.

        Raises:
            RunNotFoundError: One is not there.
            TrackyardError: A run is still running, or the file cannot be written.
        """
        from trackyard.runs.archiving import archive_runs

        return archive_runs(self._project, names, Path(file))

    def replay_run(self, name: str, to: str) -> list[TrackerReport]:
        """Send a run, or all runs of a pipeline run, to another tracker; twice changes nothing.

        Args:
            name: The run, or a pipeline run.
            to: Name of the tracker.

        Raises:
            RunNotFoundError: None fits.
            ConfigError: The tracker is not configured, or wrongly.
            TrackyardError: The run is still running.
        """
        from trackyard.recovery.replay import replay_run
        from trackyard.runs.fetching import runs_at_hand

        with runs_at_hand(self._project, name) as found:
            return ShownList(replay_run(run, self._project, to) for run in found)

    def plan_replay(self, name: str, to: str) -> list[ReplayPlan]:
        """Say what would be lost or changed by `replay_run`; nothing is sent.

        Args:
            name: The run, or a pipeline run.
            to: Name of the tracker.

        Raises:
            RunNotFoundError: None fits.
            ConfigError: The tracker is not configured, or wrongly.
        """
        from trackyard.recovery.replay import plan_replay
        from trackyard.runs.fetching import runs_at_hand

        with runs_at_hand(self._project, name) as found:
            return ShownList(plan_replay(run, self._project, to) for run in found)

    def collect_garbage(
        self, *, older_than: float = 30 * 24 * 3600.0, is_dry_run: bool = False
    ) -> list[CollectedRun]:
        """Delete the journals of runs that every tracker has acknowledged.

        Runs that are too young, or that no tracker got, are kept and not listed.

        Args:
            older_than: Seconds since they were last written to, at least.
            is_dry_run: Only say what would be deleted.
        """
        from trackyard.runs.garbage import collect_garbage

        collected = collect_garbage(self._project, older_than=older_than, is_dry_run=is_dry_run)
        return ShownList(collected.runs)

    def doctor(self, *, connect: bool = False) -> Diagnosis:
        """Look for what is wrong with the project, its trackers and its runs.

        Args:
            connect: Ask the trackers themselves: their secrets are read, and what a `module:Class`
                of the configuration names is imported.
        """
        from trackyard.runs.doctor import examine

        return examine(self._project.root, connect=connect)

    def _view(self, row: PipelineRunRow) -> PipelineRun:
        from trackyard.runs.pipeline_views import PipelineRun

        return PipelineRun(row, self._store, self._artifact_store, self._project)

    @cached_property
    def _store(self) -> Store:
        from trackyard.store import Store

        return Store.of(self._project)

    @cached_property
    def _artifact_store(self) -> ArtifactStore:
        from trackyard.runs.pipeline_views import open_artifact_store

        return open_artifact_store(self._project, self.active_stack)

    def _annotate(self, name: str, said: Annotation) -> list[SentAnnotation]:
        from trackyard.runs.annotating import annotate_run

        store = self._store_if_any
        return ShownList(annotate_run(self._project, store, self._find(name), said))

    def _find(self, name: str) -> FoundRun:
        from trackyard.runs.finding import find_run

        return find_run(self._project, self._store_if_any, name)

    @property
    def _store_if_any(self) -> Any:
        """The store, where it has been made: looking at runs makes none."""
        from trackyard.store.listing import has_store

        return self._store if has_store(self._project) else None

    def __repr__(self) -> str:
        return f"<Client {self._home}>"

    if not TYPE_CHECKING:  # else any name would do for a type checker

        def __getattr__(self, name: str) -> Any:
            hint = ""
            if new := _OLD_NAMES.get(name):
                hint = f"; what a step returned is an output, type: Client().{new}(...)"
            raise AttributeError(f"'Client' has no attribute {name!r}{hint}")


def _check_output_name(name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise OutputNotFoundError(
            f"an output's name is a text such as 'training.train.output', not {name!r}"
        )


def _check_version(version: Any) -> None:
    if version is not None and (type(version) is not int or version < 1):
        raise OutputNotFoundError(
            f"an output's version is a whole number from 1, or None for the latest, not {version!r}"
        )
