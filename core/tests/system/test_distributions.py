"""Does a distribution whose metadata is damaged hide none of the others?"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import importlib_metadata
import pytest

from trackyard.hooks.discovery import FLAVORS, find_plugins
from trackyard.system import distributions
from trackyard.system.distributions import find_entry_points, requirements_of, version_of

POINTS_FILE = "entry_points.txt"
POINTS = "[trackyard.flavors]\nhurt = hurt:Tracker\n"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Give the folder where distributions are damaged; one beside it is well."""
    site = tmp_path / "site"
    info = site / "hurt-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hurt\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(site)
    return site


@pytest.fixture(autouse=True)
def _sound(project, install):
    install("sound", flavors={"aa-sound": "sound:Tracker", "zz-sound": "sound:Tracker"})


def found():
    return {info.name: info for info in find_plugins(FLAVORS)}


def damaged_by(site, how):
    """Damage the distribution in one way; it is known by the name of the way."""
    info = site / "hurt-1.0.dist-info"
    metadata, points = info / "METADATA", info / "entry_points.txt"
    match how:
        case "empty metadata":
            metadata.write_text("")
        case "no metadata":
            metadata.unlink()
        case "no name":
            metadata.write_text("Metadata-Version: 2.1\nVersion: 1.0\n")
        case "metadata in no encoding":
            metadata.write_bytes(b"Name: h\xff\xfe\nVersion: 1.0\n")
        case "metadata that is a folder":
            metadata.unlink()
            metadata.mkdir()
        case "metadata that leads to itself":
            metadata.unlink()
            metadata.symlink_to(metadata)
        case "entry points without a value":
            points.write_text(f"{POINTS}what is this\n")
        case "entry points without a section":
            points.write_text("trackyard.flavors\nhurt = hurt:Tracker\n")
        case "entry points behind half a section":
            points.write_text("# ours\n[trackyard.flavors\nhurt = hurt:Tracker\n")
        case "entry points in no encoding":
            points.write_bytes(b"[trackyard.flavors]\n\xff\xfe = hurt:Tracker\n")
        case "entry points that lead to themselves":
            points.unlink()
            points.symlink_to(points)
        case "entry points that are a folder":
            points.unlink()
            points.mkdir()
        case "a file in the place of its folder":
            for path in (metadata, points):
                path.unlink()
            info.rmdir()
            info.write_text("no folder")
        case "a folder that leads to itself":
            for path in (metadata, points):
                path.unlink()
            info.rmdir()
            info.symlink_to(info)
        case "a folder that cannot be read":
            info.chmod(0)


OF_METADATA = (
    "empty metadata",
    "no metadata",
    "no name",
    "metadata in no encoding",
    "metadata that is a folder",
    "metadata that leads to itself",
)
OF_ENTRY_POINTS = (
    "entry points without a value",
    "entry points without a section",
    "entry points behind half a section",
    "entry points in no encoding",
    "entry points that lead to themselves",
)
OF_NOTHING_ELSE = (
    "entry points that are a folder",
    "a file in the place of its folder",
    "a folder that leads to itself",
    "a folder that cannot be read",
)


@pytest.mark.parametrize("how", [*OF_METADATA, *OF_ENTRY_POINTS, *OF_NOTHING_ELSE])
def test_a_damaged_distribution_hides_no_other(site, how):
    damaged_by(site, how)

    assert {"aa-sound", "zz-sound"} <= found().keys()
    assert found()["aa-sound"].distribution == "sound"


@pytest.mark.parametrize("how", OF_METADATA)
def test_plugins_of_a_distribution_with_damaged_metadata_are_found_all_the_same(site, how):
    damaged_by(site, how)

    assert (found()["hurt"].value, found()["hurt"].distribution) == ("hurt:Tracker", "")
    assert version_of("hurt") in ("", "1.0")
    assert requirements_of("hurt") == ()


@pytest.mark.parametrize("how", OF_ENTRY_POINTS)
def test_one_is_told_which_distribution_has_entry_points_that_cannot_be_read(site, how):
    damaged_by(site, how)
    _, damaged = find_entry_points("trackyard.")

    assert [one.place for one in damaged] == ["hurt"]
    assert "hurt" not in found()


def test_what_is_first_on_the_path_counts_and_a_folder_may_stand_there_twice(site, tmp_path):
    second = tmp_path / "second/hurt-2.0.dist-info"
    second.mkdir(parents=True)
    (second / "METADATA").write_text("Metadata-Version: 2.1\nName: Hurt\nVersion: 2.0\n")
    (second / "entry_points.txt").write_text("[trackyard.flavors]\nhurt = other:Tracker\n")
    sys.path[:] = [*sys.path, str(second.parent), str(site), str(second.parent)]
    ours = [info for info in find_plugins(FLAVORS) if info.name == "hurt"]

    assert [(info.value, info.version) for info in ours] == [("hurt:Tracker", "1.0")]


def test_what_an_installation_left_behind_does_not_count_beside_the_real_one(site):
    left = site / "hurt-0.9.dist-info"
    left.mkdir()
    (left / "entry_points.txt").write_text(POINTS)
    ours = [info for info in find_plugins(FLAVORS) if info.name == "hurt"]

    assert [info.distribution for info in ours] == ["hurt"]


def test_what_was_seen_holds_for_the_next_process_until_a_file_is_another(
    site, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    metadata, points = (site / "hurt-1.0.dist-info" / name for name in ("METADATA", POINTS_FILE))
    metadata.write_text(metadata.read_text() + "Requires-Dist: trackyard>=0.1\n")

    def seen_anew():
        """Look as another process does; tell what was found, and whether the library read it."""
        reads = []
        with monkeypatch.context() as patch:
            distributions._entry_points_in.cache_clear()
            read = importlib_metadata.distributions
            patch.setattr(
                importlib_metadata, "distributions", lambda **at: reads.append(at) or read(**at)
            )
            declared, _ = find_entry_points("trackyard.")
            assert requirements_of("hurt") == ("trackyard>=0.1",)
        ours = [one.value for one in declared if one.distribution == "hurt"]
        return ours, {"path": [str(site)]} in reads

    assert seen_anew() == (["hurt:Tracker"], True)
    assert seen_anew() == (["hurt:Tracker"], False)
    points.write_text(POINTS.replace("Tracker", "Other"))
    assert seen_anew() == (["hurt:Other"], True)
    files = (tmp_path / "caches/trackyard/entry-points").iterdir()
    (kept,) = (file for file in files if "hurt" in file.read_text())
    kept.write_text(kept.read_text()[:50])
    assert seen_anew() == (["hurt:Other"], True)
    kept.chmod(0o666)  # anybody may have written it
    assert seen_anew() == (["hurt:Other"], True)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["empty metadata", "entry points without a value"])
def test_flavors_are_listed_and_the_doctor_names_the_damage(site, project, how):
    damaged_by(site, how)
    environment = {"PYTHONPATH": os.pathsep.join([str(site), *map(str, project_sites(project))])}
    listed = project.trackyard("experiment-tracker", "flavor", "list", **environment)
    said = project.trackyard("doctor", **environment).stdout

    assert listed.returncode == 0, listed.stderr
    assert "zz-sound" in listed.stdout
    assert ("hurt" in listed.stdout) == (how == "empty metadata")
    assert ("its entry points cannot be read" in said) == (how != "empty metadata")


def project_sites(project) -> list[Path]:
    return sorted((project.root / "installed").iterdir())


def test_a_distribution_that_is_not_installed_has_no_version_and_requires_nothing():
    assert (version_of("no-such-thing"), requirements_of("no-such-thing")) == ("", ())
    assert version_of("attrs")
    assert any("pluggy" in line for line in requirements_of("trackyard"))


def test_a_place_that_changes_is_read_again_alone(tmp_path, monkeypatch):
    """Such as a program's own folder, in which it writes files."""
    own, other = tmp_path / "own", tmp_path / "other"
    for place in (own, other):
        place.mkdir()
    monkeypatch.setattr(sys, "path", [str(own), str(other)])
    found = find_entry_points("trackyard.")
    misses = distributions._entry_points_in.cache_info().misses
    os.utime(own, (1, 1))

    assert find_entry_points("trackyard.") == found
    assert distributions._entry_points_in.cache_info().misses == misses + 1
