"""Which package of Lightning does a program use, and what does its rank 0 alone?"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from trackyard_integrations.joining import contained

# A Trainer takes the loggers of its own package.
if "lightning" in sys.modules or "pytorch_lightning" not in sys.modules:
    from lightning.fabric.utilities.logger import _convert_params, _flatten_dict
    from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
    from lightning.pytorch.utilities import rank_zero_only
else:
    from lightning_fabric.utilities.logger import _convert_params, _flatten_dict
    from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
    from pytorch_lightning.utilities import rank_zero_only

__all__ = ["Logger", "flattened", "in_rank_zero", "rank_zero_experiment", "rank_zero_only"]


def in_rank_zero(call: Callable[..., None]) -> Callable[..., None]:
    """Call in rank 0 alone, and keep what goes wrong out of the training."""
    in_rank: Callable[..., None] = rank_zero_only(contained(call))
    return in_rank


def flattened(params: dict[str, Any] | Namespace) -> dict[str, Any]:
    """Give nested hyperparameters names such as `optimizer/lr`."""
    flat: dict[str, Any] = _flatten_dict(_convert_params(params))
    return flat
