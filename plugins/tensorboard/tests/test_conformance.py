"""Does the TensorBoard flavor keep the contract?"""

from __future__ import annotations

import pytest
from all_flavors import log_by_tensorboard

from trackyard.testing import FlavorSuite


def write_by_a_writer(files, points):
    """Write a file of its own with each call, as a program does that is started again."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(files), filename_suffix=f".{points[0].step}") as writer:
        for point in points:
            writer.add_scalar(point.key, point.value, point.step, walltime=point.timestamp / 1e9)


class TestTensorboard(FlavorSuite):
    @pytest.fixture
    def config(self, tmp_path):
        return {"flavor": "tensorboard", "log_dir": str(tmp_path / "board")}

    @pytest.fixture
    def log_natively(self):
        return log_by_tensorboard

    @pytest.fixture
    def write_files(self):
        return write_by_a_writer
