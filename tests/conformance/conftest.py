"""Let dotted paths name the mutants, and the examples that are their correct twins."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
for example in ("company-orchestrator", "company-format", "company-commands"):
    sys.path.append(str(Path(__file__).parents[2] / "examples" / example))
