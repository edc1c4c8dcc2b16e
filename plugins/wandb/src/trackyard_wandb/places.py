"""Where does a run belong in W&B, and what is it called there?"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

import attrs

from trackyard.contract import Run
from trackyard_wandb.settings import configured_name, page_url
from trackyard_wandb.state import load_state


@attrs.frozen
class Place:
    """A run's place and names in W&B, as arguments of `wandb.init`, and the sweep it is of."""

    id: str
    entity: str | None
    project: str
    group: str | None
    job_type: str | None
    tags: tuple[str, ...]
    name: str
    sweep: str | None = None

    def page(self, url: str) -> str | None:
        """Give the address of the run's page, which belongs to a server; None without entity."""
        if self.entity is None:
            return None
        names = (quote(text, safe="") for text in (self.entity, self.project))
        return "/".join([page_url(url), *names, "runs", self.id])


def place_of(
    run: Run,
    *,
    entity: str | None,
    project: str | None,
    group: str | None,
    job_type: str | None,
    tags: list[str],
    shares_id: bool,
) -> Place:
    """Give a run's place: as the server said, else as it is configured.

    Args:
        run: The run.
        entity: Whose it is, a user's or a team's; None for the account's own.
        project: The project, or None for the run's experiment.
        group: The group, or None for the pipeline run's id.
        job_type: The type, or None for the step's name.
        tags: Words, as the configuration has them.
        shares_id: The attempts of a step are one run of W&B's.
    """
    known = load_state(run.folder)
    named = project or configured_name("project") or run.experiment
    return Place(
        id=known.get("id") or (_shared_id(run) if shares_id else run.id),
        entity=known.get("entity") or entity or configured_name("entity"),
        project=known.get("project") or _project_name(named),
        group=group or run.group,
        job_type=job_type or run.step,
        tags=tuple(dict.fromkeys(tags)),
        name=run.name[:128],
        sweep=known.get("sweep"),
    )


def _shared_id(run: Run) -> str:
    """Give the id that the attempts of a step share."""
    if run.group is None or run.step is None:
        return run.id
    return hashlib.sha256(f"{run.group}/{run.pipeline}/{run.step}".encode()).hexdigest()[:32]


def _project_name(text: str) -> str:
    """Make a text a name that W&B takes for a project."""
    return re.sub(r"[/\\#?%:\s]+", "-", text).strip("-")[:128] or "default"
