"""Trackyard: one set of hooks for experiment tracking, every tracker a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trackyard.client import Client
    from trackyard.contract.errors import (
        ArtifactNotFoundError,
        ConfigError,
        NoActiveRunError,
        OutputError,
        PipelineError,
        PluginError,
        RejectedRecords,
        RequiredTrackerError,
        RetryLater,
        RunNotFoundError,
        StepCrashedError,
        StepError,
        TrackyardError,
    )
    from trackyard.contract.flavors import Secret, flavor, secret
    from trackyard.contract.hookspecs import hookimpl
    from trackyard.contract.process_state import KEEP, process_values
    from trackyard.contract.records import (
        Artifact,
        Batch,
        Capabilities,
        Failure,
        Metric,
        Param,
        Record,
        Run,
        Tag,
    )
    from trackyard.pipelines import Pipeline, Step, pipeline, step
    from trackyard.project.configuration import home
    from trackyard.project.offline import is_out_of_reach
    from trackyard.system.import_hooks import after_import
    from trackyard.system.interruption import StepTimeoutError
    from trackyard.system.waiting import is_true_within
    from trackyard.tracking.blocks import start_run, tracked_step
    from trackyard.tracking.calls import (
        ActiveRun,
        current_run,
        log_artifact,
        log_dict,
        log_figure,
        log_image,
        log_metric,
        log_metrics,
        log_param,
        log_params,
        log_table,
        log_text,
        native_run,
        set_tag,
        set_tags,
    )

__version__ = "0.1.0"

# Where each public name lives. A module is imported when one of its names is first used, so that
# `import trackyard` costs next to nothing.
_HOMES = {
    "tracking.blocks": ("start_run", "tracked_step"),
    "client": ("Client",),
    "project.configuration": ("home",),
    "contract.errors": (
        "ArtifactNotFoundError",
        "ConfigError",
        "NoActiveRunError",
        "OutputError",
        "PipelineError",
        "PluginError",
        "RejectedRecords",
        "RequiredTrackerError",
        "RetryLater",
        "RunNotFoundError",
        "StepCrashedError",
        "StepError",
        "TrackyardError",
    ),
    "contract.flavors": ("Secret", "flavor", "secret"),
    "contract.hookspecs": ("hookimpl",),
    "system.import_hooks": ("after_import",),
    "system.interruption": ("StepTimeoutError",),
    "pipelines": ("Pipeline", "Step", "pipeline", "step"),
    "contract.process_state": ("KEEP", "process_values"),
    "project.offline": ("is_out_of_reach",),
    "contract.records": (
        "Artifact",
        "Batch",
        "Capabilities",
        "Failure",
        "Metric",
        "Param",
        "Record",
        "Run",
        "Tag",
    ),
    "tracking.calls": (
        "ActiveRun",
        "current_run",
        "log_artifact",
        "log_dict",
        "log_figure",
        "log_image",
        "log_metric",
        "log_metrics",
        "log_param",
        "log_params",
        "log_table",
        "log_text",
        "native_run",
        "set_tag",
        "set_tags",
    ),
    "system.waiting": ("is_true_within",),
}

__all__ = [
    "KEEP",
    "ActiveRun",
    "Artifact",
    "ArtifactNotFoundError",
    "Batch",
    "Capabilities",
    "Client",
    "ConfigError",
    "Failure",
    "Metric",
    "NoActiveRunError",
    "OutputError",
    "Param",
    "Pipeline",
    "PipelineError",
    "PluginError",
    "Record",
    "RejectedRecords",
    "RequiredTrackerError",
    "RetryLater",
    "Run",
    "RunNotFoundError",
    "Secret",
    "Step",
    "StepCrashedError",
    "StepError",
    "StepTimeoutError",
    "Tag",
    "TrackyardError",
    "after_import",
    "current_run",
    "flavor",
    "home",
    "hookimpl",
    "is_out_of_reach",
    "is_true_within",
    "log_artifact",
    "log_dict",
    "log_figure",
    "log_image",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "log_table",
    "log_text",
    "native_run",
    "pipeline",
    "process_values",
    "secret",
    "set_tag",
    "set_tags",
    "start_run",
    "step",
    "tracked_step",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            value = getattr(import_module(f"trackyard.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'trackyard' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
