# The names for users; `system.doors` reads them, too.

from trackyard.client import Client as Client

# Their home for authors is the other door; these have been imported from here.
from trackyard.contract import (
    KEEP as KEEP,
    Artifact as Artifact,
    Batch as Batch,
    Capabilities as Capabilities,
    Failure as Failure,
    Metric as Metric,
    Param as Param,
    Record as Record,
    RejectedRecords as RejectedRecords,
    RetryLater as RetryLater,
    Run as Run,
    Secret as Secret,
    Tag as Tag,
    after_import as after_import,
    is_out_of_reach as is_out_of_reach,
    is_true_within as is_true_within,
    process_values as process_values,
)
from trackyard.contract.errors import (
    ArtifactNotFoundError as ArtifactNotFoundError,
    ConfigError as ConfigError,
    NoActiveRunError as NoActiveRunError,
    OutputError as OutputError,
    OutputNotFoundError as OutputNotFoundError,
    PipelineError as PipelineError,
    PluginError as PluginError,
    RequiredTrackerError as RequiredTrackerError,
    RunNotFoundError as RunNotFoundError,
    StepCrashedError as StepCrashedError,
    StepError as StepError,
    TrackyardError as TrackyardError,
)
from trackyard.contract.flavors import (
    flavor as flavor,
    secret as secret,
)
from trackyard.contract.hookspecs import hookimpl as hookimpl
from trackyard.pipelines import (
    Pipeline as Pipeline,
    Step as Step,
    pipeline as pipeline,
    step as step,
)
from trackyard.pipelines.output_metadata import set_output_metadata as set_output_metadata
from trackyard.project.configuration import home as home
from trackyard.system.interruption import StepTimeoutError as StepTimeoutError
from trackyard.tracking.blocks import (
    start_run as start_run,
    tracked_step as tracked_step,
)
from trackyard.tracking.calls import (
    ActiveRun as ActiveRun,
    current_run as current_run,
    log_metric as log_metric,
    log_metrics as log_metrics,
    log_param as log_param,
    log_params as log_params,
    native_run as native_run,
    set_tag as set_tag,
    set_tags as set_tags,
)
from trackyard.tracking.functions import (
    log_artifact as log_artifact,
    log_audio as log_audio,
    log_dataset as log_dataset,
    log_dict as log_dict,
    log_figure as log_figure,
    log_histogram as log_histogram,
    log_image as log_image,
    log_model as log_model,
    log_table as log_table,
    log_text as log_text,
    log_video as log_video,
)
from trackyard.tracking.resuming import resume_run as resume_run

__version__: str
