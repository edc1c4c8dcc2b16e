"""How do outputs that a remote artifact store could not take reach it later?

Only a store that a stack of the configuration names gets anything: what lies in `.trackyard/`
chooses no address.
"""

from __future__ import annotations

from collections.abc import Iterator

from trackyard.contract.errors import ConfigError
from trackyard.outputs.artifact_store import ArtifactStore
from trackyard.outputs.keeping import KeptOutput, KeptOutputs
from trackyard.project.configuration import Project
from trackyard.project.stacks import active_stack, artifact_store_url, load_stacks
from trackyard.system.waiting import result_within

_PATIENCE = 600.0  # seconds for all that one store gets


def send_unsent(
    project: Project, *, timeout: float | None = None
) -> Iterator[tuple[list[KeptOutput], str]]:
    """Send what waits; give what waited for each store, and what went wrong or an empty text.

    Args:
        project: The project.
        timeout: Seconds for each store at most; ten minutes by default.
    """
    waiting: dict[str, list[KeptOutput]] = {}
    for kept in KeptOutputs(project.home):
        waiting.setdefault(kept.url, []).append(kept)
    known = stores_of(project) if waiting else []
    for url, of_store in waiting.items():
        if url not in known:
            problem = f"no stack names {url}; type: trackyard stack update NAME -a {url}"
        else:
            store = ArtifactStore(url, kept=KeptOutputs(project.home))
            try:
                problem = result_within(timeout or _PATIENCE, store.send_kept, name="unsent")
            except TimeoutError as error:
                problem = str(error)
        yield of_store, problem


def stores_of(project: Project) -> list[str]:
    """Give the URLs of the artifact stores that the configuration names, the active stack's first.

    Args:
        project: The project.
    """
    urls = []
    for stack in (active_stack(project), *load_stacks(project).values()):
        try:
            urls.append(artifact_store_url(project, stack).rstrip("/"))
        except ConfigError:
            continue  # it is said where that stack is used
    return list(dict.fromkeys(urls))
