"""How is a run written from its start to its end: to a server, or to an archive?

Both ways take the same messages. What was kept offline goes to a server later by the same calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import attrs

from trackyard.contract import Run
from trackyard_comet.archive import (
    append,
    load_state,
    native_messages,
    native_tags,
    portable_messages,
    save_state,
    write_archive,
)
from trackyard_comet.context import TOLD
from trackyard_comet.messages import (
    HTML,
    Identity,
    Message,
    html_of,
    identities_of,
    other_message,
    without_own,
)
from trackyard_comet.native import upload_rest
from trackyard_comet.server import CometServer

# Points that are recognised when their batch comes again: more than a batch holds.
_RECENT = 5000
# Points of the last millisecond that are kept in the run's folder.
_LATEST = 1000
# Tags of Comet's that show how a run has ended.
NOT_FINISHED = ("failed", "killed", "crashed")
# HTML goes as one; messages of other kinds (graphs, models) go by `comet upload`.
_SENT = {"metric_msg", "parameter_msg", "log_other", "file_upload", "standard_output", *TOLD}


@attrs.frozen
class Place:
    """Where an experiment belongs, and its tags, which are words."""

    project: str
    workspace: str | None
    tags: tuple[str, ...]


@attrs.frozen
class End:
    """How a run ended; an empty failure where it finished."""

    status: str
    failure: str
    ended_at: int | None

    def messages(self) -> list[Message]:
        """Give what is mirrored of it: Comet itself has no killed state."""
        found = {"trackyard.status": self.status, "trackyard.failure": self.failure}
        return [other_message(key, value) for key, value in found.items() if value]

    def tags(self) -> tuple[str, ...]:
        """Give the tag that shows a run that did not finish in Comet's lists."""
        return () if self.status == "finished" else (self.status,)


class Writing(Protocol):
    """One run on its way to Comet."""

    def start(self) -> None:
        """Start the run, or continue it."""

    def send(self, messages: Sequence[Message]) -> None:
        """Write messages; when this returns they are kept."""

    def forward_native(self) -> None:
        """Write what is new of Comet's own calls."""

    def finish(self, end: End) -> None:
        """End the run."""

    def close(self) -> None:
        """Let go of connections."""


class OfflineRun:
    """A run that is kept in its folder, and whose archive is written at its end."""

    def __init__(self, run: Run, place: Place) -> None:
        self._run = run
        self._place = place

    def start(self) -> None:
        """Note that the run is offline."""
        save_state(self._run.folder, mode="offline")
        append(self._run.folder, _first_messages(self._run))

    def send(self, messages: Sequence[Message]) -> None:
        """Keep messages."""
        append(self._run.folder, messages)

    def forward_native(self) -> None:
        """Nothing: it is in the folder already."""

    def finish(self, end: End) -> None:
        """Write the archive, and how it ended."""
        folder, place = self._run.folder, self._place
        append(folder, end.messages())
        facts: dict[str, Any] = {
            "project_name": place.project,
            "workspace": place.workspace,
            "tags": [*dict.fromkeys((*place.tags, *native_tags(folder), *end.tags()))],
        }
        if end.status != "finished":
            facts |= {"customer_error_reported": True, "customer_error_message": end.failure}
        write_archive(attrs.evolve(self._run, ended_at=end.ended_at), facts)
        save_state(folder, end=attrs.asdict(end))

    def close(self) -> None:
        """Nothing: there are no connections."""


class OnlineRun:
    """A run on a server.

    What the server may have without our knowledge, since an answer was lost or the process before
    this one died, is looked up before it is sent again: Comet keeps a point that comes twice twice.
    """

    def __init__(self, run: Run, place: Place, server: CometServer) -> None:
        self._run = run
        self._place = place
        self._server = server
        self._is_continued = "run_id" in load_state(run.folder) or run.attached
        self._is_unsure = self._is_continued
        latest = load_state(run.folder).get("latest", [])
        self._recent: dict[Identity, Identity] = {tuple(e): tuple(e[:-1]) for e in latest}

    def start(self) -> None:
        """Create the experiment, or continue it."""
        facts = self._server.start(self._place.project, self._place.workspace)
        self._server.set_state(is_alive=True)
        self._server.set_times(self._run.started_at, None)
        self._server.send(_first_messages(self._run))
        if self._run.resumed:
            self._server.remove_tags(NOT_FINISHED)
        self._server.add_tags(self._place.tags)
        save_state(self._run.folder, mode="online", **facts)

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages."""
        points = dict(identities_of(messages))
        comes_again = not self._recent.keys().isdisjoint(points)
        others = None
        if self._is_unsure or comes_again:
            others = Counter(shown for exact, shown in self._recent.items() if exact not in points)
        try:
            self._server.send(messages, others=others)
        except Exception:
            self._is_unsure = True
            raise
        self._is_unsure = self._is_continued
        self._remember(points)

    def _remember(self, points: Mapping[Identity, Identity]) -> None:
        """Note what the server has; of the last moment also for a process after this one."""
        if not points:
            return
        self._recent.update(points)
        for oldest in list(islice(self._recent, max(0, len(self._recent) - _RECENT))):
            del self._recent[oldest]
        moment = max(shown[2] for shown in points.values())
        latest = [exact for exact, shown in self._recent.items() if shown[2] == moment]
        save_state(self._run.folder, latest=latest[-_LATEST:])

    def forward_native(self) -> None:
        """Send what Comet's own calls have written since the last time; show that the run lives."""
        folder = self._run.folder
        first = load_state(folder).get("native_lines", 0)
        messages = native_messages(folder, first)
        if messages:
            self.send([m for m in without_own(messages) if m["type"] in _SENT])
            save_state(folder, native_lines=first + len(messages))
        self._server.show_as_alive()

    def send_kept(self) -> None:
        """Send what was kept while the run was offline."""
        self.send(portable_messages(self._run.folder))

    def finish(self, end: End) -> None:
        """Send what is left of Comet's own calls, and the end."""
        self.forward_native()
        run, place = attrs.evolve(self._run, ended_at=end.ended_at), self._place
        native = without_own(native_messages(run.folder))
        if html := html_of(native):
            self._server.set_html(html)
        if rest := [m for m in native if m["type"] not in _SENT | HTML]:
            experiment = {"project_name": place.project, "workspace": place.workspace}
            upload_rest(run, rest, experiment, self._server)
        self._server.add_tags((*native_tags(run.folder), *end.tags()))
        self._server.send(end.messages())
        self._server.set_times(run.started_at, end.ended_at)
        self._server.show_as_alive(False)
        has_failed = end.status != "finished"
        self._server.set_state(is_alive=False, has_crashed=has_failed, error=end.failure)

    def close(self) -> None:
        """Let go of connections."""
        self._server.close()


def _first_messages(run: Run) -> list[Message]:
    """Give its name, that of Comet's own calls where they have said one, and its tags."""
    # What an earlier end said counts no more where it is running again.
    labels = {**run.tags, **run.identity_tags, **({"trackyard.failure": ""} if run.resumed else {})}
    named = {"Name": run.name, **labels}
    for message in native_messages(run.folder):
        if message.get("type") == "log_other" and message["payload"]["key"] == "Name":
            named["Name"] = str(message["payload"]["value"])
    return [other_message(key, value) for key, value in named.items()]
