from trackyard.store.databases import StoreError as StoreError
from trackyard.store.rows import (
    OutputRow as OutputRow,
    PipelineRunRow as PipelineRunRow,
    StepRunRow as StepRunRow,
)
from trackyard.store.schema import SCHEMA_VERSION as SCHEMA_VERSION
from trackyard.store.store import Store as Store
