"""Does the TensorBoard flavor keep the contract?"""

from __future__ import annotations

import pytest

from trackyard.testing import FlavorSuite


def log_by_a_writer(key, value):
    from tensorboardX import SummaryWriter

    SummaryWriter().add_scalar(key, value)


class TestTensorboard(FlavorSuite):
    @pytest.fixture
    def config(self, tmp_path):
        return {"flavor": "tensorboard", "log_dir": str(tmp_path / "board")}

    @pytest.fixture
    def log_natively(self):
        return log_by_a_writer
