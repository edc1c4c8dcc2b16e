"""What is one run while its process tracks it: its journal, its trackers, its activation?"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from trackyard.console.keeping import Console
from trackyard.console.lines import StreamName
from trackyard.console.logged import log_console
from trackyard.console.options import ConsoleOptions
from trackyard.contract.context import Context
from trackyard.contract.records import (
    Failure,
    FinalStatus,
    ParamValue,
    Run,
)
from trackyard.delivery.breaker import rest_of
from trackyard.delivery.capturing import CaptureJournal
from trackyard.delivery.native_reading import NativeReading
from trackyard.delivery.stages import Stage
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.hooks.filters import apply_filters, record_filters
from trackyard.hooks.managers import NamedPlugins
from trackyard.hooks.observing import observed
from trackyard.journal.children import with_metrics_of_children
from trackyard.journal.descriptions import (
    RunDescription,
    TrackerDescription,
    folder_name,
    is_described,
    metadata_of,
    save_description,
    wants_all_ranks,
)
from trackyard.journal.durability import JournalOptions
from trackyard.journal.ending import end_as_said, said_status
from trackyard.journal.entries import Entry
from trackyard.journal.pending import mark_as_pending, mark_as_to_be_shared
from trackyard.journal.reader import writers_in
from trackyard.journal.summaries import Summary, summarise_at_end
from trackyard.journal.writer import JournalWriter
from trackyard.project.sources import text_of
from trackyard.project.trackers import Tracker
from trackyard.redaction.redactor import RedactedKeys, Redactor
from trackyard.system.coercing import to_number
from trackyard.system.descriptors import FollowedFolder
from trackyard.system.environment import is_disabled
from trackyard.system.files import private_folder
from trackyard.system.ranks import process_rank
from trackyard.tracking.capturing import Activated, RunCapture, Source, described_sources
from trackyard.tracking.containing import spared
from trackyard.tracking.new_runs import new_run
from trackyard.tracking.params import ParamOptions
from trackyard.tracking.parents import ParentRun

if TYPE_CHECKING:
    from trackyard.delivery.workers import Delivery, Worker
    from trackyard.tracking.lifecycle import RunGroup

logger = logging.getLogger("trackyard")


class TrackedRun:
    """One run with its journal and its trackers.

    Args:
        run: The run; each tracker gets it with a folder of its own.
        folder: The run's folder, which holds those.
        plugins: Cross-cutting plugins.
        redactor: Keeps secrets out of what is written down.
        options: How soon the disk has to hold what is journaled.
        role: How the journal's files are named; by this process's rank unless another process
            holds the run.
        params: What the project says of params.
        console: What it says of what runs print; None where nothing of that is kept.
        place: What the run's folder lies in, followed until it is made.
    """

    def __init__(
        self,
        run: Run,
        folder: Path,
        plugins: NamedPlugins,
        redactor: Redactor,
        options: JournalOptions | None = None,
        *,
        role: str | None = None,
        params: ParamOptions | None = None,
        console: ConsoleOptions | None = None,
        place: FollowedFolder | None = None,
    ) -> None:
        self.run = run
        self.context: Context | None = None
        self.params = params or ParamOptions()
        self.redactor = redactor
        self.deliveries: dict[str, Delivery] = {}
        self.group: RunGroup | None = None  # where it was started, unless another process holds it
        self.native_runs: dict[str, object] = {}
        self.sources: dict[str, Source] = {}
        self.is_of_command = False  # native calls are those of another program
        self.has_own_files = False  # no other process prints to this one's stdout and stderr
        self.is_joined = False  # another process reads what SDKs' files hold
        self._captured: set[str] = set()
        self._native_child = ExitStack()  # what is held of a run that an SDK has made
        self.keys = RedactedKeys(redactor)
        role = role or f"r{process_rank()}"
        self.journal = JournalWriter(folder, role, options, session=run.resumed, place=place)
        self._plugins = plugins
        self._options = options
        self._described: list[TrackerDescription] = []
        self.filters = record_filters(plugins, run)
        # Stands in training loops, where one more call in between would be felt.
        journal, is_direct = self.journal, not self.filters
        self.append_metric = journal.append_metric if is_direct else self._append_metric
        self.append_metrics = journal.append_metrics if is_direct else self._append_metrics
        self._hidden: set[str] = set()
        self.summary: Summary | None = None  # once it has ended
        self._has_ended = False
        self._said: FinalStatus | None = None
        self.wait_for_starts: Callable[[], object] = _nothing  # where nobody has waited
        self._console_limit = console.limit if console is not None else 0
        self.console: Console | None = None
        if console is not None and not is_disabled():
            self.console = Console(
                *(folder, redactor, console.limit, self._show_that_it_prints),
                follow=lambda: self.folder,
            )

    @property
    def folder(self) -> Path:
        """The run's folder, wherever the project was moved to."""
        return self.journal.folder

    @property
    def last_metrics(self) -> dict[str, float]:
        """The last value of each metric that this process logged."""
        return self.journal.last_metrics

    def with_metrics_of_children(self, own: Mapping[str, float]) -> dict[str, float]:
        """Add the last values of what children of the run's process logged to its own."""
        if not self._has_folder:
            return dict(own)
        all_ranks = wants_all_ranks(self._described)
        return with_metrics_of_children(own, self.folder, all_ranks=all_ranks)

    @property
    def urls(self) -> dict[str, str]:
        """The addresses that are known by now, by tracker name."""
        return {name: d.url for name, d in self.deliveries.items() if d.url}

    def leave(self) -> None:
        """Write no more; the run goes on in the process that it belongs to."""
        if self.console is not None:
            self.console.close()
        self.journal.close()

    def keep_printed(self, stream: StreamName, text: str) -> None:
        """Keep what the run has printed in another process.

        Args:
            stream: Where to.
            text: What.
        """
        if self.console is not None:
            self.console.write(stream, text)

    def _show_that_it_prints(self) -> None:
        """Describe a run without trackers, so that what it prints is found while it lives."""
        if not self.deliveries and not is_described(self.folder):
            self.describe()

    def log_console(self) -> None:
        """Log what the run has printed as a file of it, in whichever process it did."""
        if self.console is None:
            return
        self.console.close()
        if self._has_folder:
            log_console(self.folder, self.journal.blobs, self.append, self._console_limit)

    def set_tag(self, key: str, value: str) -> None:
        """Journal a tag of core's own, where there are trackers.

        Args:
            key: Its name.
            value: Its text.
        """
        if self.deliveries:
            self._append(Entry("tags", time.time_ns(), None, {key: value}))

    @property
    def has_end(self) -> bool:
        """Tell whether the run's end is written, or nothing more can be."""
        return self.journal.has_end

    @property
    def is_child(self) -> bool:
        """Tell whether it stands below a run that is no pipeline run."""
        return self.run.is_child

    @property
    def tracker_folders(self) -> list[str]:
        """The names of its trackers' folders, also of those that it goes on without."""
        return [tracker.folder for tracker in self._described]

    @property
    def as_parent(self) -> ParentRun:
        """What runs below this one have to know of it."""
        names = frozenset(tracker.name for tracker in self._described)
        return ParentRun(self.run.id, self.folder, self.run.group or self.run.id, names)

    def describe(self) -> None:
        """Write down at once that the run is there."""
        self.journal.show_life()
        self._describe()

    def _describe(self) -> None:
        sources = [source.configured for source in self.sources.values()]
        save_description(self.folder, self.run, self._described, described_sources(sources))
        if self._options is not None and self._options.upload:
            mark_as_to_be_shared(self.folder)

    def take_over(self, described: Iterable[TrackerDescription]) -> None:
        """Keep what a session before this one has written down of the run's trackers.

        Args:
            described: The trackers.
        """
        self._described = [*described]
        if self._described:
            mark_as_pending(self.folder)

    def set_status(self, status: FinalStatus) -> None:
        """Note how the run is to end, however it ends."""
        self._said = status
        self._append(Entry("status", time.time_ns(), None, {"status": status}))

    def as_said(self, failure: Failure | None) -> Failure | None:
        """Give a run's end with the status that its code, or a child of its process, has said.

        Args:
            failure: Why the run did not finish, or None.
        """
        others = {*writers_in(self.folder, self.journal.session)} - {self.journal.name}
        said = said_status(self.folder, others) if others else None
        return end_as_said(self._said or said, failure)

    @property
    def flavors(self) -> dict[str, str]:
        """The flavor of each tracker, by the tracker's name."""
        return {tracker.name: str(tracker.table["flavor"]) for tracker in self._described}

    @property
    def run_metadata(self) -> dict[str, str]:
        """What the store keeps of it: the trackers with their flavors, and URLs by name."""
        return metadata_of(self.flavors, self.urls)

    def append(self, entry: Entry) -> None:
        """Journal an entry for every tracker; any thread may call this."""
        if not self.filters:
            self._append(entry)
            return
        for record in entry.records():
            kept = apply_filters(self.filters, record)
            if kept is not None:
                self._append(entry.of_record(kept))

    def _append(self, entry: Entry) -> None:
        if entry.kind in ("params", "tags"):
            entry = entry._replace(data=self._redacted(entry.data))
        self.journal.append(entry)

    def _redacted(self, pairs: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
        """Redact params or tags; say once of each key that it hides its value."""
        redacted = self.redactor.redact_pairs(pairs)
        for (key, value), (redacted_key, kept) in zip(pairs.items(), redacted, strict=True):
            if kept == "***" != value and key not in self._hidden and len(self._hidden) < 100:
                self._hidden.add(key)
                logger.warning("%r looks like a secret: its value is not kept", redacted_key)
        return dict(redacted)

    def _append_metric(self, timestamp: int, step: float | None, key: str, number: float) -> None:
        self.append(Entry("metrics", timestamp, step, {key: number}))

    def _append_metrics(
        self, timestamp: int, step: float | None, metrics: dict[str, float], _: bool = False
    ) -> None:
        self.append(Entry("metrics", timestamp, step, metrics))

    def add_tracker(self, tracker: Tracker, worker: Worker, parent: ParentRun | None) -> None:
        """Begin to carry the run to a tracker.

        Args:
            tracker: The tracker.
            worker: Calls its hooks, for all of its runs.
            parent: The run that it stands below, or None.
        """
        folder = private_folder(self.folder / folder_name(tracker.name))
        context = self.context if tracker.options.context else None
        run = attrs.evolve(self.run, folder=folder, parent_id=None, context=context)
        if parent is not None and tracker.name in parent.trackers:
            self.run = attrs.evolve(self.run, parent_id=parent.id)
            parent_folder = parent.folder / folder.name
            run = attrs.evolve(run, parent_id=parent.id, parent_folder=parent_folder)
        hooks = TrackerHooks.of(tracker, self._plugins)
        described = TrackerDescription(
            *(tracker.name, folder.name, tracker.table, tracker.place),
            project=tracker.project.identity,
        )
        self._described = [*(o for o in self._described if o.name != tracker.name), described]
        self.journal.show_life()  # first: who reads the description looks for a sign of life
        self.journal.begin()
        self._describe()
        mark_as_pending(self.folder)
        self.deliveries[tracker.name] = worker.carry(hooks, run, tracker.options)
        if tracker.options.capture:
            self._captured.add(tracker.name)

    def add_sources(self, sources: Sequence[Tracker]) -> None:
        """Have the calls of flavors' SDKs captured, which do not track the run themselves.

        Args:
            sources: The flavors as sources.
        """
        if not sources:
            return
        self.join_sources(sources)
        self.journal.show_life()
        self.journal.begin()
        self._describe()
        mark_as_pending(self.folder)

    def join_sources(self, sources: Iterable[Tracker]) -> None:
        """Have calls captured in a run that is described already.

        Args:
            sources: The flavors as sources.
        """
        for tracker in sources:
            folder = private_folder(self.folder / folder_name(tracker.name))
            run = attrs.evolve(self.run, folder=folder, parent_id=None)
            hooks = TrackerHooks.of(tracker, self._plugins)
            self.sources[text_of(tracker)] = Source(hooks, run, tracker)

    @contextmanager
    def activated(self) -> Iterator[None]:
        """Let the SDKs' own calls land in this run, in the calling thread.

        Of several trackers of one flavor the first is activated: an SDK has one active run.
        """
        with ExitStack() as stack:
            if self.is_of_command:
                self._read_all_native(stack)
            else:
                self._activate_all(stack)
            if not self.is_joined:
                watching = observed(self._plugins, self.run, self.log_numbers, self.folder)
                stack.enter_context(watching)
            yield
        self.native_runs.clear()

    def _activate_all(self, stack: ExitStack) -> None:
        flavors: dict[type, str] = {}
        for name, delivery in self.deliveries.items():
            flavor = type(delivery.hooks.tracker)
            if flavor in flavors:
                is_sent = flavors[flavor] in self._captured and delivery.hooks.captures
                logger.log(
                    logging.DEBUG if is_sent else logging.WARNING,
                    "native calls go to experiment tracker %r; %r, of the same flavor, %s",
                    *(flavors[flavor], name),
                    "is sent them" if is_sent else "gets the portable calls only",
                )
                continue
            flavors[flavor] = name
            with spared(f"native calls of experiment tracker {name!r}"):
                self._activate(name, delivery, stack)
        for source in self.sources.values():
            with spared(f"native calls of {source.configured.name!r}"):
                self._activate_source(source, stack)

    def _read_all_native(self, stack: ExitStack) -> None:
        """Read what SDKs write in the processes of a command."""
        for source in self.sources.values():
            stack.enter_context(source.hooks.capturing_alone(source.run))
            if source.configured.files is not None or source.hooks.reads_native:
                self._read_native(source, stack, source.configured.files)
        for name, delivery in self.deliveries.items():
            if name in self._captured and delivery.hooks.reads_native:
                self._read_native(delivery, stack)

    def log_numbers(self, metrics: Mapping[str, Any], step: float | None) -> None:
        """Log what a plugin has observed; what is no number is left out.

        Args:
            metrics: Numbers by name.
            step: The training step, or None.
        """
        numbers = {self.keys[str(key)]: to_number(value) for key, value in metrics.items()}
        known = {key: number for key, number in numbers.items() if number is not None}
        if known and not self._has_ended:
            self.append_metrics(time.time_ns(), step, known)

    def _activate_source(self, source: Source, stack: ExitStack) -> None:
        if source.configured.files is not None:
            self._read_native(source, stack, source.configured.files)
            return
        name = source.configured.name
        self._captured.add(name)
        stack.enter_context(source.hooks.capturing_alone(source.run))
        self._activate(name, source, stack)

    def _activate(self, name: str, delivery: Activated, stack: ExitStack) -> None:
        """Enter a tracker's activation, unless it hung a while ago: it would cost time again."""
        rest = rest_of(self.folder.parent, name)
        if not rest.is_over:
            logger.debug("experiment tracker %r: its activation is left out, as it hung", name)
            return

        def has_hung(spent: float) -> None:
            logger.warning(
                "experiment tracker %r: tracker_activate_run hung for %.1f s; native calls do not "
                "land in its runs for the next %.0f s, portable calls do",
                name,
                spent,
                rest.begin(spent),
            )

        capture = self._capture(name, delivery, stack) if name in self._captured else None
        is_starting = self.wait_for_starts is not _nothing and self._is_new(name)
        self.native_runs[name] = stack.enter_context(
            delivery.hooks.activated(delivery.run, capture, has_hung, is_starting=is_starting)
        )

    def _is_new(self, name: str) -> bool:
        return name in self.deliveries and self.deliveries[name].progress.stage is Stage.NEW

    def _capture(self, name: str, delivery: Activated, stack: ExitStack) -> RunCapture:
        """Have what the SDK's own calls log journaled until the activation is left."""
        if delivery.hooks.reads_native and not self.is_joined:
            self._read_native(delivery, stack)
        capture = self.new_capture(name, delivery.hooks.remote_id_in_step(delivery.run))
        stack.callback(capture.end_children)
        return capture

    def _read_native(self, one: Activated, stack: ExitStack, files: Path | None = None) -> None:
        """Have what an SDK's files hold journaled until the activation is left."""
        place = one.hooks, one.run, self.redactor, self._plugins
        reading = NativeReading(
            *place, options=self._options, files=files, follow=lambda: self.folder
        )
        reading.begin()
        stack.callback(reading.end)

    def new_capture(self, source: str, remote_id: str) -> RunCapture:
        """Give what takes the records of one SDK's calls.

        Args:
            source: The tracker whose SDK it is.
            remote_id: The backend's own id of the run.
        """
        journal = CaptureJournal(self.journal, self.redactor, self.filters)
        return RunCapture(self, journal, source, remote_id)

    def start_native_child(
        self,
        source: str,
        name: str,
        adopt: Callable[[Path], object],
        tags: Mapping[str, str],
    ) -> RunCapture | None:
        """Start a child run for one that an SDK has made; None where this process cannot.

        Args:
            source: The tracker whose SDK it is.
            name: The run's name.
            adopt: Notes in the tracker's folder which run of the backend it is.
            tags: Labels of the run.
        """
        if self.group is None or self.group.process != os.getpid():
            return None
        parent = self.as_parent
        name = self.redactor.redact(name)
        run = new_run(
            name, self.run.experiment, group=parent.group, parent_id=parent.id, tags=dict(tags)
        )
        folder = private_folder(self.folder.parent / run.id / folder_name(source))
        adopt(folder)
        with self.group.lock:
            child = self.group.start(run, self.configured_trackers, parent, waits=False)
        one: Activated | None = child.deliveries.get(source)
        own = one.hooks.remote_id_in_step(one.run) if one is not None else run.id
        if one is None:
            known = {one.configured.name: one for one in self.sources.values()}.get(source)
            one = known and attrs.evolve(known, run=attrs.evolve(run, folder=folder))
        if one is not None and one.hooks.reads_native:
            child._read_native(one, child._native_child)  # noqa: SLF001 - it is of this class
        return child.new_capture(source, own)

    @property
    def configured_trackers(self) -> list[Tracker]:
        """Its trackers, with the settings that it has them with."""
        found = (delivery.hooks.configured for delivery in self.deliveries.values())
        return [tracker for tracker in found if tracker is not None]

    def end_native_child(self) -> None:
        """End a run that `start_native_child` has started, as its SDK has said."""
        self._native_child.close()
        self.finish(self.as_said(None))
        if self.group is not None:
            self.group.close_child()

    def note_signal(self, number: int) -> None:
        """Note that the process is told to stop: it may be killed before the run has ended."""
        if not self._has_ended and (self.deliveries or self.journal.has_entries):
            self.journal.append(Entry("signal", time.time_ns(), None, {"number": number}))

    def finish(self, failure: Failure | None) -> None:
        """Say how the run ended; the rest is delivered in the background."""
        self._has_ended = True
        if self.run.resumed and not self.journal.has_entries:
            self.journal.close()  # it was not opened again: its end is the one that it has
            return
        with spared("what the run has printed"):
            self.log_console()
        # Another process may have written there: a child, or a worker that ran the step.
        has_entries = self.journal.has_entries or (not self.deliveries and self._has_folder)
        # A block that failed is told of, though it has logged nothing; a step's is in the store.
        is_told = failure is not None and self.run.pipeline is None and not is_disabled()
        if not has_entries and is_told:
            private_folder(self.folder)
            has_entries = True
        if not self.deliveries and has_entries:
            self._describe()
        if self.deliveries or has_entries:
            self.journal.end(Entry("end", time.time_ns(), None, failure))
        else:
            self.journal.close()
        with spared("what is noted when a run has ended"):
            self._note_end(failure)

    def _note_end(self, failure: Failure | None) -> None:
        """Have others find what is to be delivered, and sum the run up."""
        if self._described:
            mark_as_pending(self.folder)  # again: another process may have taken this one for dead
        if self.deliveries and not is_described(self.folder):
            self._describe_again()
        for delivery in self.deliveries.values():
            delivery.hurry()
        if self.has_description:
            described = RunDescription(self.run, tuple(self._described))
            self.summary = summarise_at_end(self.folder, described, failure)

    @property
    def _has_folder(self) -> bool:
        """Tell whether anything can be kept of it on disk, by whichever process."""
        return os.path.isdir(self.folder)  # noqa: PTH112 - at each step's end

    @property
    def has_description(self) -> bool:
        """Tell whether something of the run is kept on disk."""
        return bool(self.deliveries) or is_described(self.folder)

    def _describe_again(self) -> None:
        """Write anew what another process needs to deliver the rest: the folder was deleted."""
        for tracker in self._described:
            private_folder(self.folder / tracker.folder)
        self._describe()
        mark_as_pending(self.folder)


def _nothing() -> None:
    """Wait for no start."""
