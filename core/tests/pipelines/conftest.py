"""What do tests of pipelines share?"""

from __future__ import annotations

import pytest
from recorder import Recorder


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project
