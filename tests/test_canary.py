"""A test that leaves a secret anywhere is found, whichever way it leaks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from matrices import first_by_default

LEAKS = {
    "a file": "(tmp_path / 'a.bin').write_bytes(b'\\0' + SECRET.encode() + b'\\0')",
    "standard output": "print(SECRET)",
    "a log": "logging.getLogger('trackyard').warning('with %s', SECRET)",
    "an output that the test reads": "print(SECRET); capsys.readouterr()",
    "a program": "subprocess.run(['env'], capture_output=True)",
    "a program as text": "subprocess.run(['env'], capture_output=True, text=True)",
}


@pytest.mark.parametrize("leak", first_by_default([None, *LEAKS], 3))
def test_a_leak_is_found(tmp_path, leak):
    code = f"""
import logging, os, subprocess
SECRET = os.environ["CANARY_API_KEY"]

def test_that_leaks(tmp_path, capsys):
    (tmp_path / "canary-allowed").write_text(SECRET)
    subprocess.run(["true"], capture_output=True)
    {LEAKS.get(leak, "pass")}
"""
    (tmp_path / "test_that_leaks.py").write_text(code)
    options = ["-q", "-p", "canary", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "base")]
    process = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_that_leaks.py"],
        cwd=tmp_path,
        env={
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "CANARY_SECRET": "another-secret",  # this very session looks for its own
            "PYTHONPATH": str(Path(__file__).parent / "plugins"),
            "PATH": "/usr/bin:/bin",
        },
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )

    assert process.returncode == (0 if leak is None else 1), process.stdout
    assert ("a secret is left in" in process.stdout) == (leak is not None)
