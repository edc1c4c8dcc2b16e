"""Does Ray keep the contract of orchestrators?"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from trackyard.testing import OrchestratorSuite

pytestmark = pytest.mark.slow  # a script for each check, and a cluster


@pytest.fixture(scope="module")
def address(only_cluster, tmp_path_factory):
    """Start a cluster for all checks, in a process that has nothing else to do."""
    folder = tmp_path_factory.mktemp("cluster")
    code = (
        "import os, ray, sys\n"
        "found = ray.init(address='local', num_cpus=3, include_dashboard=False,\n"
        "                 configure_logging=False, log_to_driver=False)\n"
        "print(found.address_info['gcs_address'], flush=True)\n"
        "sys.stdin.read()\n"
        "ray.shutdown()\n"
    )
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as cluster:
        yield cluster.stdout.readline().strip()
        cluster.stdin.close()
        cluster.wait(60)


class TestRay(OrchestratorSuite):
    @pytest.fixture
    def config(self, address):
        return {"orchestrator": "ray", "address": address, "max_tasks": 8}
