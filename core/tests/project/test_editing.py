"""Is a configuration file changed whole or not at all, by one process at a time?"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tomllib

import pytest

from trackyard import ConfigError
from trackyard.project.editing import edit_file

REGISTER_FIFTY = """
import sys
from trackyard.registry.registering import Registry
from pathlib import Path
registry = Registry(Path.cwd())
for number in range(50):
    name = f"t{sys.argv[1]}-{number}"
    registry.register("experiment_trackers", name, {"flavor": "recorder:Recorder"})
"""


@pytest.mark.parametrize(
    "count", [4, pytest.param(16, marks=pytest.mark.long(reason="of 4 processes the same holds"))]
)
def test_processes_that_register_fifty_trackers_each_lose_none(project, count):
    project.configure("# ours\n[unknown]\nkey = 1  # kept\n")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", REGISTER_FIFTY, str(number)],
            cwd=project.root,
            env=project.environment(),
            stderr=subprocess.PIPE,
        )
        for number in range(count)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    text = project.file.read_text()

    assert errors == [b""] * count
    assert set(tomllib.loads(text)["experiment_trackers"]) == {
        f"t{process}-{number}" for process in range(count) for number in range(50)
    }
    assert text.startswith("# ours\n[unknown]\nkey = 1  # kept\n")
    assert [path.name for path in project.root.iterdir()] == ["trackyard.toml"]


def test_reader_never_sees_half_of_a_file(tmp_path):
    file = tmp_path / "a.toml"
    edit_file(file, lambda _: "a = 1\n" * 1)
    seen = []

    def change(text):
        seen.append(file.read_text())
        return text + "b = 2\n"

    edit_file(file, change)
    assert seen == ["a = 1\n"]
    assert file.read_text() == "a = 1\nb = 2\n"


def test_file_keeps_its_mode_and_a_link_leads_to_it(tmp_path):
    file, link = tmp_path / "a.toml", tmp_path / "link.toml"
    file.write_text("")
    file.chmod(0o640)
    link.symlink_to(file)
    edit_file(link, lambda _: "a = 1\n")

    assert link.is_symlink()
    assert file.read_text() == "a = 1\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.parametrize("content", [None, "a = 1\n"])
def test_change_that_fails_leaves_everything_as_it_was(tmp_path, content):
    file = tmp_path / "a.toml"
    if content is not None:
        file.write_text(content)

    def fail(_):
        raise ConfigError("no")

    with pytest.raises(ConfigError, match="no"):
        edit_file(file, fail)
    assert [path.read_text() for path in tmp_path.iterdir()] == [content] * (content is not None)


def test_file_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match=r"a\.toml: cannot be changed: "):
        edit_file(tmp_path / "file" / "a.toml", lambda _: "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_is_read_only_is_one_error(tmp_path):
    tmp_path.chmod(0o500)

    with pytest.raises(ConfigError, match="Permission denied"):
        edit_file(tmp_path / "a.toml", lambda _: "")
