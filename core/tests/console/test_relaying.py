"""Does a command print as it did before, while what it prints is kept?"""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from trackyard.console.keeping import Console
from trackyard.console.reading import read_console
from trackyard.console.relaying import Relay
from trackyard.redaction.redactor import Redactor

RELAYED = """
import subprocess, sys
from pathlib import Path
from trackyard.console.keeping import Console
from trackyard.console.relaying import Relay
from trackyard.redaction.redactor import Redactor
console = Console(Path(sys.argv[1]), Redactor(), 1_000_000)
with Relay(console.write) as relay:
    process = subprocess.Popen(sys.argv[2:], stdout=relay.stdout, stderr=relay.stderr)
    relay.begin()
    code = process.wait()
console.close()
sys.exit(code)
"""


@pytest.fixture
def relayed(tmp_path):
    """Run a command relayed, with pipes; give what came of it, and the lines that are kept."""

    def run(*command, **options):
        arguments = [sys.executable, "-c", RELAYED, str(tmp_path / "run"), *command]
        options = {"capture_output": True, **options}
        (tmp_path / "run").mkdir(exist_ok=True)
        result = subprocess.run(arguments, check=False, timeout=60, **options)
        return result, [(line.stream, line.text) for line in read_console(tmp_path / "run")]

    return run


def on_a_terminal(tmp_path, *command, size=(33, 77)):
    """Run a command relayed on a pseudo-terminal; give what the terminal was sent, and the code."""
    (tmp_path / "run").mkdir(exist_ok=True)
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-c", RELAYED, str(tmp_path / "run"), *command])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    sent = b""
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:
            break
        if not data:
            break
        sent += data
    os.close(terminal)
    return sent, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_bytes_and_exit_code_come_through_pipes(relayed):
    code = r"printf '\377\000x\r\n'; printf unfinished; echo err >&2; exit 7"
    result, kept = relayed("sh", "-c", code)

    assert (result.returncode, result.stdout, result.stderr) == (
        7,
        b"\xff\x00x\r\nunfinished",
        b"err\n",
    )
    assert [text for stream, text in kept if stream == "out"] == ["\\xffx", "unfinished"]
    assert ("err", "err") in kept


def test_order_of_both_streams_stays_where_they_are_one(relayed):
    code = "for i in 1 2 3; do echo out $i; echo err $i >&2; done"
    result, kept = relayed(
        "sh", "-c", code, capture_output=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )

    expected = [f"{name} {i}" for i in (1, 2, 3) for name in ("out", "err")]
    assert result.stdout.decode().split("\n")[:-1] == expected
    assert [text for _, text in kept] == expected


def test_pipe_stays_a_pipe_and_a_terminal_a_terminal(relayed, tmp_path):
    look = "import os; print([os.isatty(n) for n in (0, 1, 2)])"
    result, _ = relayed(sys.executable, "-c", look, stdin=subprocess.DEVNULL)
    assert result.stdout == b"[False, False, False]\n"
    sent, code = on_a_terminal(tmp_path, sys.executable, "-c", look)
    assert (sent, code) == (b"[True, True, True]\r\n", 0)


def test_terminal_has_its_size_and_its_echo_follows(tmp_path):
    code = """
import os, sys, termios, time
while os.get_terminal_size().lines != 33: time.sleep(0.01)
settings = termios.tcgetattr(1)
settings[3] &= ~termios.ECHO
termios.tcsetattr(1, termios.TCSANOW, settings)
print("quiet", flush=True)
while termios.tcgetattr(0)[3] & termios.ECHO: time.sleep(0.01)
print(os.get_terminal_size().columns)
"""
    resized = f"import signal, os, time; {code}"
    sent, exit_code = on_a_terminal(tmp_path, sys.executable, "-c", resized)

    assert exit_code == 0
    assert sent == b"quiet\r\n77\r\n"
    assert [line.text for line in read_console(tmp_path / "run")] == ["quiet", "77"]


def test_reader_that_has_gone_ends_the_command(tmp_path):
    (tmp_path / "run").mkdir()
    arguments = [sys.executable, "-c", RELAYED, str(tmp_path / "run"), "yes"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.read(10)
    process.stdout.close()

    assert process.wait(60) == -signal.SIGPIPE % 256


def test_what_a_command_left_behind_goes_on_printing(tmp_path):
    (tmp_path / "run").mkdir()
    code = 'sh -c "read line < gate; echo late" & echo early'
    os.mkfifo(tmp_path / "gate")
    arguments = [sys.executable, "-c", RELAYED, str(tmp_path / "run"), "sh", "-c", code]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=tmp_path)
    assert process.wait(60) == 0
    (tmp_path / "gate").write_text("go\n")

    assert process.stdout.read() == b"early\nlate\n"
    process.stdout.close()
    assert [line.text for line in read_console(tmp_path / "run")] == ["early"]


def test_without_a_console_the_streams_are_inherited():
    with Relay(None) as relay:
        assert (relay.stdout, relay.stderr) == (None, None)
        relay.begin()


def test_descriptors_are_closed_in_the_end(tmp_path):
    def opened():
        return len(list(Path("/dev/fd").iterdir()))

    before = opened()
    console = Console(tmp_path, Redactor(), 1_000_000)
    with Relay(console.write) as relay:
        process = subprocess.Popen(["true"], stdout=relay.stdout, stderr=relay.stderr)
        relay.begin()
        process.wait()
    with pytest.raises(ZeroDivisionError), Relay(console.write):
        _ = 1 / 0  # before anything was started
    console.close()

    end = time.monotonic() + 10
    while opened() != before and time.monotonic() < end:
        time.sleep(0.01)
    assert opened() == before
