"""Does `trackyard ui` serve the tracker's page, open the run, and end with it?"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest
from pages import Broken, Missing, Serving, Silent, Unserving
from recorder import Recorder

from trackyard import start_run


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(project, *arguments, **environment):
    """Run the command until the block ends; gives the process and the first line it writes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trackyard", "ui", *arguments],
        cwd=project.root,
        env=project.environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    timer = Timer(60, process.kill)
    timer.start()
    with process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait()
            timer.cancel()


def read(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def test_page_answers_when_its_address_is_written(project):
    project.add_tracker("local", Serving, ui_port=free_port())
    with served(project) as (_, url):
        assert read(url) == b"the page"
    with pytest.raises(OSError, match="refused"):
        read(url)


@pytest.mark.slow
def test_address_is_that_of_the_latest_run_or_of_a_named_one(project):
    port = free_port()
    project.add_tracker("local", Serving, ui_port=port)
    with start_run("first") as first:
        pass
    with start_run("second") as second:
        pass
    page = f"http://127.0.0.1:{port}/default"
    with served(project) as (_, url):
        assert url == f"{page}/{second.id}"
    with served(project, "--run", "first") as (_, url):
        assert url == f"{page}/{first.id}"


def test_port_host_and_tracker_are_chosen(project):
    project.add_tracker("first", Recorder)
    project.add_tracker("second", Serving)
    port = str(free_port())
    with served(project, "second", "--host", "0.0.0.0", "--port", port) as (_, url):
        assert url == f"http://127.0.0.1:{port}/"
        assert read(url) == b"the page"


def test_browser_opens_the_address_where_that_is_asked_for(project):
    project.add_tracker("local", Serving, ui_port=free_port())
    opened = project.root / "opened"
    browser = f"{sys.executable} -c \"open('{opened}', 'w').write('%s')\""
    with served(project, "--open", BROWSER=browser) as (process, url):
        while process.poll() is None and not (opened.exists() and opened.read_text()):
            time.sleep(0.02)
        assert opened.read_text() == url


def test_json_names_the_process_which_ends_with_the_command_that_is_killed(project):
    project.add_tracker("local", Serving, ui_port=free_port())
    with served(project, "--json") as (process, first):
        text = first
        while "}" not in text:
            text += process.stdout.readline()
        came = json.loads(text)
        assert came["name"] == "local"
        os.kill(came["process"], 0)
        process.kill()
        process.wait()
        # The pipe's other end is closed when the server, which holds no stdout of ours, is gone.
        while _is_there(came["process"]):
            pass


def _is_there(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_ctrl_c_ends_it_without_an_error(project):
    project.add_tracker("local", Serving, ui_port=free_port())
    with served(project) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        assert process.stderr.read() == "\n"  # behind the ^C on a terminal


def test_busy_port_is_one_clear_line(project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        project.add_tracker("local", Serving, ui_port=port)
        result = project.trackyard("ui")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: port {port} of 127.0.0.1 cannot be used: address already in use; the page may be "
        f"served there already, or type: trackyard ui local --port {port + 1}\n"
    )


@pytest.mark.parametrize(
    ("flavor", "message"),
    [
        (Recorder, "experiment tracker 'local' has no page of its own to serve; open its"),
        (Unserving, "experiment tracker 'local': tracker_ui_command: OSError: no page today"),
        (Missing, "/not/there cannot be run: No such file or directory"),
        (Broken, "the server ended with exit code 7: no such store; its output is in "),
        (Silent, "/ does not answer after 0.3 s; its output is in "),
    ],
)
def test_page_that_cannot_be_served_is_one_line(project, flavor, message):
    port = {"ui_port": free_port()} if flavor in (Broken, Silent) else {}
    project.add_tracker("local", flavor, **port)
    result = project.trackyard("ui", "--timeout", "0.3" if flavor is Silent else "30")

    assert (result.returncode, result.stdout) == (1, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_page_of_no_tracker_is_answered_with_what_to_type(project):
    result = project.trackyard("ui")

    assert result.returncode == 1
    assert "has no experiment tracker; type: pip install trackyard-mlflow" in result.stderr


def test_run_that_is_not_there_is_named(project):
    project.add_tracker("local", Serving, ui_port=free_port())
    result = project.trackyard("ui", "--run", "nothing")

    assert result.returncode == 1
    assert "no run has the name, id or prefix 'nothing'" in result.stderr
