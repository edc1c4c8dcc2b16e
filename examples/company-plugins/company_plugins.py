# company_plugins.py
"""Two plugins for every tracker: one tells of runs that failed, one hides e-mail addresses."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from collections.abc import Callable

import attrs

from trackyard.contract import Failure, Param, Record, Run, Tag, hookimpl

ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


class Notifier:
    """Post a line about each run that failed to the address in COMPANY_WEBHOOK."""

    @hookimpl
    def tracker_fail_run(self, run: Run, failure: Failure) -> None:
        url = os.environ.get("COMPANY_WEBHOOK")
        is_whole_pipeline = run.pipeline is not None and run.step is None
        if not url or is_whole_pipeline or run.is_child:  # the step or block is told of
            return
        try:  # each tracker of a run has this hook called, and may have it called again
            (run.folder.parent / "company-notified").open("x").close()
        except FileExistsError:
            return
        name = f"{run.pipeline}/{run.step}" if run.step else run.name
        text = f"{name} {failure.status}: {failure.kind}: {failure.message}"
        post = urllib.request.Request(url, json.dumps({"text": text}).encode())
        urllib.request.urlopen(post, timeout=run.deadline / 2).close()


class Redactor:
    """Hide e-mail addresses in params and tags, before they are written anywhere."""

    @hookimpl
    def tracker_filter_records(self) -> Callable[[Record], Record | None]:
        return self.without_addresses

    def without_addresses(self, record: Record) -> Record | None:
        if isinstance(record, Param | Tag) and isinstance(record.value, str):
            return attrs.evolve(record, value=ADDRESS.sub("<address>", record.value))
        return record


notifier = Notifier()
redactor = Redactor()
