# The names for authors of flavors and other plugins; `system.doors` reads them, too.

from trackyard.cli.output import (
    json_option as json_option,
    remark as remark,
    say as say,
    show_json as show_json,
    show_table as show_table,
    show_values as show_values,
)
from trackyard.contract.answers import (
    Answer as Answer,
    classify_answer as classify_answer,
    classify_error as classify_error,
    seconds_to_wait as seconds_to_wait,
)
from trackyard.contract.calling import step_of_caller as step_of_caller
from trackyard.contract.capturing import Capture as Capture
from trackyard.contract.context import Context as Context, Git as Git
from trackyard.contract.errors import (
    ConfigError as ConfigError,
    CredentialRefused as CredentialRefused,
    OutputError as OutputError,
    PluginError as PluginError,
    RejectedRecords as RejectedRecords,
    RetryLater as RetryLater,
    RunDeleted as RunDeleted,
    RunNotFoundError as RunNotFoundError,
    StepCrashedError as StepCrashedError,
    TooLarge as TooLarge,
    TrackyardError as TrackyardError,
)
from trackyard.contract.flavors import (
    Secret as Secret,
    flavor as flavor,
    option as option,
    secret as secret,
)
from trackyard.contract.hookspecs import hookimpl as hookimpl
from trackyard.contract.importing import (
    ImportNote as ImportNote,
    MetricPoints as MetricPoints,
    PointsByMetric as PointsByMetric,
    RemoteRun as RemoteRun,
    RunQuery as RunQuery,
    inside as inside,
)
from trackyard.contract.kinds import (
    MODEL_FILE as MODEL_FILE,
    Dataset as Dataset,
    Histogram as Histogram,
    Model as Model,
    ModelFile as ModelFile,
)
from trackyard.contract.materializers import (
    Materializer as Materializer,
    StoredOutput as StoredOutput,
)
from trackyard.contract.orchestrators import (
    GRACE as GRACE,
    Job as Job,
    Orchestrator as Orchestrator,
    Outcome as Outcome,
    SubprocessOrchestrator as SubprocessOrchestrator,
)
from trackyard.contract.presence import Presence as Presence
from trackyard.contract.process_state import (
    KEEP as KEEP,
    own_environment as own_environment,
    process_values as process_values,
)
from trackyard.contract.records import (
    Artifact as Artifact,
    Batch as Batch,
    Capabilities as Capabilities,
    Failure as Failure,
    Metric as Metric,
    Param as Param,
    Record as Record,
    Run as Run,
    Tag as Tag,
)
from trackyard.contract.stand_ins import (
    own_copy as own_copy,
    standing_in as standing_in,
)
from trackyard.delivery.adapting import fitted_name as fitted_name
from trackyard.journal.receiving import (
    JournalReceiver as JournalReceiver,
    heard_of as heard_of,
)
from trackyard.journal.shipping import (
    ship_what_is_left as ship_what_is_left,
    shipped_journal as shipped_journal,
)
from trackyard.pipelines.parcels import run_packed as run_packed
from trackyard.project.backend_folders import (
    beside_home as beside_home,
    folder_problems as folder_problems,
    in_home as in_home,
    name_on_disk as name_on_disk,
    retried_later as retried_later,
)
from trackyard.project.configuration import (
    Project as Project,
    find_project as find_project,
    home as home,
)
from trackyard.project.offline import is_out_of_reach as is_out_of_reach
from trackyard.system.descriptors import OwnFile as OwnFile
from trackyard.system.files import (
    put_file as put_file,
    replacing as replacing,
    write_whole as write_whole,
)
from trackyard.system.import_hooks import after_import as after_import
from trackyard.system.inside_hooks import is_inside_hook as is_inside_hook
from trackyard.system.showing import plain as plain
from trackyard.system.sqlite_files import ReadOnlyDatabase as ReadOnlyDatabase
from trackyard.system.waiting import (
    is_true_within as is_true_within,
    result_within as result_within,
)
