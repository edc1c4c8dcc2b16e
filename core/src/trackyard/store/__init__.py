"""Where are pipeline runs, step runs and their outputs recorded, and how are they read again?"""

from trackyard.store.rows import ArtifactRow, PipelineRunRow, StepRunRow
from trackyard.store.schema import SCHEMA_VERSION
from trackyard.store.store import Store

__all__ = ["SCHEMA_VERSION", "ArtifactRow", "PipelineRunRow", "StepRunRow", "Store"]
