"""When does a check apply to a flavor? What its requirements may be."""

from __future__ import annotations

from trackyard.testing.contract import Requirement
from trackyard.testing.workbench import Workbench


def implements(*hooks: str) -> Requirement:
    """Require that the flavor implements hooks."""

    def reason(workbench: Workbench) -> str | None:
        missing = [hook for hook in hooks if hook not in workbench.hooks]
        return f"the flavor has no {', '.join(missing)}" if missing else None

    return reason


def declares(capability: str, *values: object) -> Requirement:
    """Require that the flavor declares a capability with one of some values.

    Args:
        capability: A field of `Capabilities`.
        *values: The values, one of which it has.
    """

    def reason(workbench: Workbench) -> str | None:
        declared = getattr(workbench.capabilities, capability)
        return None if declared in values else f"the flavor declares {capability}={declared!r}"

    return reason


def limits(capability: str) -> Requirement:
    """Require that the flavor declares a limit for something."""

    def reason(workbench: Workbench) -> str | None:
        has_limit = getattr(workbench.capabilities, capability) is not None
        return None if has_limit else f"the flavor declares no {capability}"

    return reason


def keeps_times(workbench: Workbench) -> str | None:
    """Require that the backend takes the times of points."""
    is_kept = workbench.capabilities.time_resolution is not None
    return None if is_kept else "the flavor declares time_resolution=None"


def is_packaged(workbench: Workbench) -> str | None:
    """Require that the flavor is installed, with an entry point."""
    return None if workbench.distribution else "the flavor is named by a dotted path"


def can_be_read(workbench: Workbench) -> str | None:
    """Require that runs can be read back."""
    if workbench.can_read:
        return None
    return "runs cannot be read back: no tracker_read_run, and no read_back fixture"


def outlives_its_process(workbench: Workbench) -> str | None:
    """Require that the backend is there after a process has died."""
    return None if workbench.backend_outlives_process else "the backend ends with its process"


def captures(workbench: Workbench) -> str | None:
    """Require that what the SDK's own calls log can become records."""
    captures_any = workbench.tracker_hooks().captures
    return None if captures_any else "the flavor captures nothing of the SDK's own calls"
