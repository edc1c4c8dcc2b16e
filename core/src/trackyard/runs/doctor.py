"""What is wrong with a project, its trackers and its runs, and what helps?"""

from __future__ import annotations

import html
import os
import platform
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Literal

import attrs

from trackyard import __version__
from trackyard.contract.errors import (
    NewerFormatError,
    PluginError,
    TrackyardError,
    without_statement,
)
from trackyard.hooks.discovery import (
    FLAVORS,
    GROUPS,
    damaged_distributions,
    find_plugins,
    inspect_plugin,
    is_safe_to_load,
    load_plugins,
)
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.journal.descriptions import load_description
from trackyard.journal.durability import load_journal_options
from trackyard.journal.entries import dropped_in
from trackyard.journal.pending import (
    kept_offline_folders,
    lacking_folders,
    pending_folders,
    to_be_indexed_folders,
)
from trackyard.journal.reader import JournalReader, is_attended
from trackyard.journal.summaries import journal_size, kept_summary
from trackyard.outputs.artifact_store import ArtifactStore
from trackyard.outputs.keeping import KeptOutputs
from trackyard.project.choosing import VARIABLE, working_directory
from trackyard.project.configuration import Project, find_project, in_project
from trackyard.project.stacks import artifact_store_url, load_trackers
from trackyard.project.storing import names_store
from trackyard.project.trackers import Tracker, Trackers
from trackyard.recovery.drivers import (
    find_dead_drivers,
    find_unreadable_marks,
    how_to_forget,
)
from trackyard.recovery.finishing import find_pending_runs
from trackyard.recovery.unsent import stores_of
from trackyard.registry.components import list_flavors
from trackyard.registry.starting import look_around
from trackyard.runs.folders import folders_of_runs
from trackyard.runs.health import TrackerHealth, added_up, health_of
from trackyard.system.environment import is_disabled
from trackyard.system.showing import Shown, ShownList, html_table, line, says
from trackyard.system.waiting import result_within
from trackyard.tracking.params import load_param_options

# How long trackers may take to say whether they work, in seconds: all are asked side by side.
PATIENCE = 15.0
# So many of the latest runs are looked at, whatever is known of them.
if TYPE_CHECKING:
    from trackyard.store.lives import SilentRun

_LATEST = 500
# Bytes of a journal that are looked at for damage that came later.
_READ_AGAIN = 16 * 1024
_LEAST_BYTES, _LEAST_FILES = 200_000_000, 1000


@attrs.frozen(repr=False)
class Finding(Shown):
    """One thing that was looked at."""

    status: Literal["ok", "note", "problem"] = attrs.field(metadata=says("Whether it is well"))
    area: str = attrs.field(metadata=says("What was looked at, such as `experiment tracker`"))
    subject: str = attrs.field(metadata=says("Which one"))
    text: str = attrs.field(metadata=says("What was found"))
    advice: str = attrs.field(default="", metadata=says("What to type, or to do"))


@attrs.frozen(repr=False)
class Diagnosis(Shown):
    """What was found, and the versions of what is installed."""

    is_well: bool = attrs.field(metadata=says("There is no problem"))
    project: str = attrs.field(metadata=says("The project's folder"))
    home: str = attrs.field(metadata=says("Where its runs are kept"))
    findings: tuple[Finding, ...] = attrs.field(metadata=says("What was found, in order"))
    trackers: tuple[TrackerHealth, ...] = attrs.field(
        metadata=says("How all runs together stand on each tracker")
    )
    versions: dict[str, str] = attrs.field(metadata=says("Version by distribution"))

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What is wrong."""
        return tuple(finding for finding in self.findings if finding.status == "problem")

    def __repr__(self) -> str:
        told = "; ".join(f"{found.subject}: {found.text}" for found in self.problems)
        return line(f"<Diagnosis {self._summary}{f': {told}' if told else ''}>"[:240])

    def _repr_html_(self) -> str:
        marks = {"ok": "✓", "note": "·", "problem": "✗"}
        first = sorted(self.findings, key=lambda found: found.status != "problem")
        rows = [
            (f"{marks[found.status]} {found.area}", found.subject, found.text, found.advice)
            for found in first
        ]
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        parts = [f"<p>{html.escape(f'{self.project}: {self._summary}')}</p>"]
        parts.append(html_table(("", "", "found", "what to do"), rows))
        parts += [ShownList(self.trackers)._repr_html_()] if self.trackers else []
        return "".join([*parts, f"<p>{html.escape(versions)}</p>"])

    @property
    def _summary(self) -> str:
        count = len(self.problems)
        return f"{count} problem{'s' if count > 1 else ''}" if count else "everything is well"


def examine(
    start: Path | None = None, *, patience: float = PATIENCE, connect: bool = False
) -> Diagnosis:
    """Look at everything that may be wrong; nothing is changed, and nothing raises.

    Args:
        start: A folder of the project; the working directory by default.
        patience: Seconds that trackers may take to answer, all together.
        connect: Ask the trackers themselves: their secrets are read, and `module:Class` imported.
            Without it the project may be anybody's.
    """
    try:
        project = find_project(start)
    except TrackyardError as error:
        place = str(Path(start or os.environ.get(VARIABLE) or working_directory()).absolute())
        finding = Finding("problem", "configuration", place, str(error), _how_to_mend(error))
        return Diagnosis(False, place, "", (finding,), (), _versions())
    findings = [*_configuration(project, connect), *_plugins(), *_variables(project)]
    findings += _trackers(project, patience, connect)
    findings += _artifact_stores(project, patience, connect)
    healths, of_runs = _runs(project)
    findings += [*of_runs, *_drivers(project.home), *_disk(project.home), *_store(project)]
    return Diagnosis(
        is_well=all(finding.status != "problem" for finding in findings),
        project=str(project.root),
        home=str(project.home),
        findings=tuple(findings),
        trackers=healths,
        versions=_versions(),
    )


def _how_to_mend(error: TrackyardError) -> str:
    return "" if isinstance(error, NewerFormatError) else "edit the file"


def _configuration(project: Project, connect: bool) -> Iterator[Finding]:
    subject = str(project.config_file or "default configuration")
    if is_disabled():
        text = "TRACKYARD_DISABLE is set: nothing is tracked"
        yield Finding("note", "configuration", subject, text, "type: unset TRACKYARD_DISABLE")
    try:
        trackers = Trackers(project)
        stack = trackers.stack
        load_journal_options(project)
        load_param_options(project)
        if connect or is_safe_to_load(stack.orchestrator):
            trackers.orchestrator()
        if stack.artifact_store is not None:
            ArtifactStore(artifact_store_url(project, stack)).checked(is_tried=False)
    except TrackyardError as error:
        yield Finding("problem", "configuration", subject, str(error), "edit the file")
        return
    yield Finding("ok", "configuration", subject, f"active stack {stack.name!r}")
    if not stack.experiment_trackers:
        text = f"stack {stack.name!r} has no experiment tracker: runs stay in their journals"
        advice = "type: trackyard experiment-tracker register --help"
        yield Finding("note", "configuration", subject, text, advice)


def _plugins() -> Iterator[Finding]:
    for flavor in list_flavors(load=True):
        if flavor.status in ("SDK missing", "broken", "clash"):
            subject = f"{flavor.name} of {flavor.distribution} {flavor.version}"
            text, found, typed = flavor.problem.rpartition("type: ")
            advice = f"{found}{typed}" if found else ""
            text = text.rstrip("; ") if text else flavor.problem if not found else flavor.status
            advice = advice or f"type: pip install --upgrade {flavor.distribution}"
            yield Finding("problem", "flavor", subject, text, advice)
    for damaged in damaged_distributions():
        text = f"its entry points cannot be read, so its plugins are not found: {damaged.problem}"
        yield Finding("problem", "plugin", damaged.place, text, "install it again")
    for group in GROUPS:
        for info in find_plugins(group) if group != FLAVORS else ():
            if info.is_blocked:  # as somebody chose
                continue
            try:
                inspect_plugin(info)
            except PluginError as error:
                advice = f"type: TRACKYARD_DISABLE_PLUGINS={info.name} to do without it"
                yield Finding("problem", "plugin", info.origin, str(error), advice)


def _variables(project: Project) -> Iterator[Finding]:
    """Say which SDKs the environment speaks for that no tracker of the project uses."""
    try:
        used = {tracker.options.flavor for tracker in load_trackers(project).values()}
    except TrackyardError:
        return  # said of the configuration
    for found in look_around():
        if not found.variables or found.flavor in used:
            continue
        if found.is_installed:
            advice = f"trackyard experiment-tracker register {found.flavor} -f {found.flavor}"
        else:
            advice = f"pip install {found.distribution}"
        text = f"{', '.join(found.variables)} is set, and no configured tracker is of this flavor"
        yield Finding("note", "flavor", found.flavor, text, f"type: {advice}")


def _trackers(project: Project, patience: float, connect: bool) -> list[Finding]:
    """Ask each configured tracker, all side by side, for what keeps it from working."""
    try:
        trackers = Trackers(project)
        names = list(trackers.configured)
    except TrackyardError:
        return []  # said of the configuration
    if not connect:
        return [_glance(trackers, name) for name in names]
    answers: dict[str, list[Finding]] = {}
    threads = []
    for name in names:
        try:
            (tracker,) = trackers.select(name)
        except TrackyardError as error:
            advice = f"type: trackyard experiment-tracker update {name} --help"
            answers[name] = [_tracker_problem(name, str(error), advice)]
            continue
        threads.append(Thread(target=_ask, args=(tracker, project, answers), daemon=True))
        threads[-1].start()
    until = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    advice = "type: trackyard experiment-tracker check"
    late = f"no answer within {patience:g} s"
    given = {name: answers.get(name) for name in names}
    findings: list[Finding] = []
    for name, found in given.items():
        findings += found or [_tracker_problem(name, late, f"{advice} {name}")]
    return findings


def _glance(trackers: Trackers, name: str) -> Finding:
    """Say what a tracker's table says without its server, its secrets or the project's code."""
    tracker = trackers.configured[name]
    flavor = tracker.options.flavor
    problem = ""
    if is_safe_to_load(flavor):
        try:
            trackers.check(name, {"flavor": flavor, **tracker.fields}, tracker.place)
        except TrackyardError as error:
            problem = str(error)
    problem = problem or next(
        (
            f"{key}: {value}: the environment variable {value[4:]} is not set"
            for key, value in tracker.fields.items()
            if isinstance(value, str) and value.startswith("env:") and value[4:] not in os.environ
        ),
        "",
    )
    if problem:
        advice = f"type: trackyard experiment-tracker update {name} --help"
        return _tracker_problem(name, problem, advice)
    advice = "to ask the tracker itself, type: trackyard doctor --connect"
    return Finding("ok", "experiment tracker", name, f"flavor {flavor}", advice)


def _ask(tracker: Tracker, project: Project, answers: dict[str, list[Finding]]) -> None:
    advice = f"type: trackyard experiment-tracker check {tracker.name}"
    try:
        with in_project(project):
            hooks = TrackerHooks.of(tracker, load_plugins()[0])
            problems = hooks.check()
    except TrackyardError as error:
        problems = [str(error)]
    text = f"flavor {tracker.options.flavor}"
    answers[tracker.name] = [
        _tracker_problem(tracker.name, tracker.redactor.redact(problem), advice)
        for problem in problems
    ] or [Finding("ok", "experiment tracker", tracker.name, text)]


def _artifact_stores(project: Project, patience: float, connect: bool) -> Iterator[Finding]:
    """Try the remote artifact stores of all stacks, and say what waits for them."""
    area = "artifact store"
    try:
        urls = stores_of(project)
    except TrackyardError:
        return  # said of the configuration
    for url in urls:
        store = ArtifactStore(url)
        try:
            if not store.is_remote:
                continue
            if connect:
                result_within(patience, store.checked, name="artifact-store")
        except (TrackyardError, TimeoutError, ImportError, ValueError) as error:
            advice = "see whether it is there, and whether your credentials may write to it"
            yield Finding("problem", area, url, str(error), advice)
            continue
        text = "it can be written and read" if connect else "it is remote"
        advice = "" if connect else "to try it, type: trackyard doctor --connect"
        yield Finding("ok", area, url, text, advice)
    waiting = Counter((kept.url, kept.is_accepted) for kept in KeptOutputs(project.home))
    for (url, is_accepted), count in waiting.items():
        text = f"{count} output(s) wait for it on this machine"
        if is_accepted:
            yield Finding("note", area, url, f"{text}, as somebody has accepted", "")
        else:
            yield Finding("problem", area, url, text, "type: trackyard sync")


def _tracker_problem(name: str, text: str, advice: str) -> Finding:
    return Finding("problem", "experiment tracker", name, without_statement(text), advice)


def _runs(project: Project) -> tuple[tuple[TrackerHealth, ...], list[Finding]]:
    """Say how the runs stand: those with a mark, and the latest; what is delivered is not read."""
    findings: list[Finding] = []
    healths: list[TrackerHealth] = []
    counts = Counter[str]()
    every = folders_of_runs(project)
    looked_at = _to_be_looked_at(project, every)
    for folder in looked_at:
        try:
            description = load_description(folder)
            if description is None:
                counts["undescribed"] += any(folder.glob("*.tyj"))
                continue
            of_run = health_of(folder, description)
            lost = max((h.lost for h in of_run), default=0) if of_run else _lost_in(folder)
        except TrackyardError as error:
            findings.append(Finding("problem", "run", folder.name, str(error), _upgrade(error)))
            continue
        healths += of_run
        if lost:
            text = (
                f"its journal lost {lost} log call(s) to a full or damaged disk, or with a machine"
            )
            advice = f"type: trackyard runs show {folder.name}"
            findings.append(Finding("note", "run", description.run.name, text, advice))
    trackers = added_up(healths)
    findings += _of_pending(project)
    findings += [finding for health in trackers for finding in _of_health(project, health)]
    if counts["undescribed"]:
        text = f"{counts['undescribed']} folder(s) hold a journal without a readable run.json"
        findings.append(Finding("note", "runs", str(project.home / "runs"), text))
    text = f"{len(every) - counts['undescribed']} run(s)"
    if len(looked_at) < len(every):
        text += f"; looked at were the latest {_LATEST}, and those that wait for something"
    findings.append(Finding("ok", "runs", str(project.home), text))
    return trackers, findings


def _to_be_looked_at(project: Project, folders: list[Path]) -> list[Path]:
    """Give the folders that may have something: what is settled has no mark."""
    if len(folders) <= _LATEST:
        return folders
    homes = (pending_folders, kept_offline_folders, lacking_folders, to_be_indexed_folders)
    marked = {folder.name for find in homes for folder in find(project.home)}
    older = [folder for folder in folders[:-_LATEST] if folder.name in marked]
    return [*older, *folders[-_LATEST:]]


def _of_pending(project: Project) -> Iterator[Finding]:
    pending = find_pending_runs(project)
    by_problem = Counter[str]()
    for run in pending:
        if is_attended(run.folder):
            by_problem["running"] += 1
            continue
        by_problem["pending"] += 1
    if by_problem["running"]:
        text = f"{by_problem['running']} run(s) are running or being delivered"
        yield Finding("ok", "runs", str(project.home), text)
    if by_problem["pending"]:
        text = f"{by_problem['pending']} run(s) have not reached all of their trackers"
        yield Finding("problem", "runs", str(project.home), text, "type: trackyard sync")


def _drivers(home: Path) -> Iterator[Finding]:
    """Say of which runs the store does not know the end."""
    open_ = [driver for driver in find_dead_drivers(home) if not driver.problem]
    if open_:
        text = f"{len(open_)} run(s) have ended, and the store does not have their ends yet"
        yield Finding("problem", "runs", str(home), text, "type: trackyard sync")
    for driver in find_dead_drivers(home):
        if driver.problem:
            path = str(home / "drivers" / f"{driver.run_id}.json")
            text = f"the end of this run cannot be recorded: {driver.problem}"
            advice = f"to forget it type: {how_to_forget(home, driver.run_id)}"
            yield Finding("problem", "run", path, text, advice)
    for mark in find_unreadable_marks(home):
        text = f"the end of this run cannot be recorded: {mark.problem}"
        yield Finding("problem", "run", str(mark.path), text, mark.advice)


def _of_health(project: Project, health: TrackerHealth) -> Iterator[Finding]:
    where = "experiment tracker"
    if health.accepted:
        text = f"of what it does not have {health.accepted} was accepted: records, log calls, ends"
        yield Finding("note", where, health.tracker, text)
    if health.unaccepted and health.state == "pending" and health.problem:
        text = f"{health.pending} record(s) are pending: {health.problem}"
        yield Finding("problem", where, health.tracker, text, "type: trackyard sync")
    if health.state == "offline":
        text = "its SDK keeps runs on this machine"
        yield Finding("note", where, health.tracker, text, "type: trackyard sync")
    if health.unaccepted and health.quarantined:
        text = f"it refused {health.quarantined} record(s), which are quarantined"
        pattern = project.home / "runs" / "*" / "*" / "quarantine.jsonl"
        advice = f"read {pattern}; to send them again type: trackyard sync --refused"
        yield Finding("problem", where, health.tracker, text, advice)


def _lost_in(folder: Path) -> int:
    """Count what a journal that no tracker reads has lost: of a long one as its end was written."""
    summary = kept_summary(folder) if journal_size(folder) > _READ_AGAIN else None
    if summary is not None:
        return summary.lost
    reader = JournalReader(folder)
    dropped = 0
    while entries := reader.read(1000):
        dropped += sum(dropped_in(entry) for _, entry in entries)
    return reader.lost + dropped


def _upgrade(error: TrackyardError) -> str:
    return "" if "type: " in str(error) else "type: pip install --upgrade trackyard"


def _disk(home: Path) -> Iterator[Finding]:
    place = next(path for path in (home, *home.parents) if path.exists())
    if not place.is_dir():
        text = "it is a file, and runs want a folder there"
        yield Finding("problem", "disk", str(place), text, f"move it: mv {place} {place}.old")
        return
    if not os.access(place, os.W_OK):
        text = "it cannot be written: runs are kept in folders for temporary files"
        yield Finding("problem", "disk", str(place), text, f"type: chmod u+w {place}")
        return
    status = os.statvfs(place)
    free = status.f_bavail * status.f_frsize
    is_short = free < _LEAST_BYTES or (status.f_files and status.f_favail < _LEAST_FILES)
    text = f"{free / 1e9:.1f} GB are free"
    if is_short:
        text += f", and {status.f_favail} files"
        yield Finding("problem", "disk", str(place), text, "type: trackyard gc")
    else:
        yield Finding("ok", "disk", str(place), text)


def _store(project: Project) -> Iterator[Finding]:
    if not (names_store(project) or (project.home / "store.db").exists()):
        return
    from trackyard.store import Store
    from trackyard.store.lives import silent_runs

    subject = project.place("store") if names_store(project) else str(project.home / "store.db")
    try:
        store = Store.of(project)
        store.list_pipeline_runs(most=1)
        silent = silent_runs(store)
        store.close()
    except TrackyardError as error:
        advice = "" if "type: " in str(error) else "see whether the database is there"
        yield Finding("problem", "store", subject, str(error), advice)
    except Exception as error:  # whatever a database's driver raises
        text = f"{type(error).__name__}: {without_statement(' '.join(str(error).split()))[:300]}"
        yield Finding("problem", "store", subject, text, "see whether the database is there")
    else:
        yield Finding("ok", "store", subject, "it can be read")
        yield from map(_of_silent, silent)


def _of_silent(run: SilentRun) -> Finding:
    where = f" on {run.host}" if run.host else ""
    text = f"it is unreachable{where}: no sign of life for {run.silent_for / 60:.0f} minutes"
    advice = f"if its machine is gone, type: trackyard runs end {run.id}"
    return Finding("problem", "run", run.name, text, advice)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "trackyard": __version__}
    for flavor in list_flavors():
        if flavor.version:
            versions[flavor.distribution] = flavor.version
        if flavor.sdk_version:
            versions[flavor.sdk] = flavor.sdk_version
    return versions
