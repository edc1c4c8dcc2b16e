"""Does an exception arrive in another process with its class, arguments and attributes?"""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading

import cloudpickle
import pytest

import trackyard
from trackyard.pipelines.travelling import RemoteTraceback, Travelling


class CodeError(Exception):
    """Of other arguments than it keeps."""

    def __init__(self, code, *, text):
        super().__init__(f"{code}: {text}")
        self.code = code


class SlottedError(CodeError):
    __slots__ = ("slot",)


class MissingError(OSError):
    def __init__(self, path, hint):
        super().__init__(2, "no such file", path)
        self.hint = hint


class ReadOnlyError(ValueError):
    def __setattr__(self, name, value):
        raise AttributeError(name)


class OwnWayError(Exception):
    def __init__(self, code):
        super().__init__(f"own {code}")
        self.code = code

    def __reduce__(self):
        return OwnWayError, (self.code,)


class NeverError(Exception):
    def __reduce__(self):
        raise TypeError("never")


def there_and_back(error):
    return pickle.loads(cloudpickle.dumps(Travelling(error, "what stands for it")))


def slotted():
    error = SlottedError(5, text="x")
    error.slot, error.__notes__ = 7, ["a note"]
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad", 3),
        SystemExit(4),
        KeyError("k"),
        StopIteration(3),
        ImportError("no", name="n", path="p"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        CodeError(5, text="x"),
        slotted(),
        MissingError("data.csv", "look"),
        ReadOnlyError("bad"),
        OwnWayError(6),
        trackyard.StepCrashedError("it died", 3),
        ExceptionGroup("two", [CodeError(5, text="x"), MissingError("a", "b")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_exception_comes_back_as_it_was(error):
    back = there_and_back(error)

    assert type(back) is type(error)
    assert repr(back.args) == repr(error.args)
    assert repr(vars(back)) == repr(vars(error))
    assert str(back) == str(error)
    for name in ("code", "slot", "errno", "filename", "name", "value", "reason", "lost"):
        assert getattr(back, name, None) == getattr(error, name, None)
    assert isinstance(back.__cause__, RemoteTraceback)


def test_errors_inside_an_error_come_back_as_they_were():
    outer = CodeError(1, text="outer")
    outer.inner = ExceptionGroup("two", [CodeError(5, text="x")])

    assert there_and_back(outer).inner.exceptions[0].code == 5


def test_what_cannot_travel_of_an_exception_is_a_text():
    error = CodeError(5, text="x")
    error.lock, error.kept = threading.Lock(), {"rate": 0.1}
    error.args = (threading.Lock(), 3)

    back = there_and_back(error)

    assert type(back) is CodeError
    assert (back.code, back.kept, back.args[1]) == (5, {"rate": 0.1}, 3)
    assert "lock" in back.lock
    assert "lock" in back.args[0]


def test_exception_that_refuses_to_travel_is_a_step_error():
    back = there_and_back(NeverError("x"))

    assert (type(back), str(back)) == (trackyard.StepError, "what stands for it")


def test_class_that_is_not_there_makes_a_step_error():
    code = (
        "import sys, cloudpickle; from trackyard.pipelines.travelling import Travelling\n"
        "class OwnError(Exception): pass\n"
        "OwnError.__module__ = 'gone'; sys.modules['gone'] = type(sys)('gone')\n"
        "sys.modules['gone'].OwnError = OwnError\n"
        "sys.stdout.buffer.write(cloudpickle.dumps(Travelling(OwnError('x'), 'it stands')))"
    )
    packed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout

    back = pickle.loads(packed)

    assert (type(back), str(back)) == (trackyard.StepError, "it stands")


def test_class_of_the_script_is_the_same_class_there_and_unchanged():
    code = (
        "import pickle, cloudpickle; from trackyard.pipelines.travelling import Travelling\n"
        "class OwnError(Exception):\n    def tell(self): return 1\n"
        "tell = OwnError.tell\n"
        "back = pickle.loads(cloudpickle.dumps(Travelling(OwnError('x'), '')))\n"
        "assert type(back) is OwnError, type(back)\nassert OwnError.tell is tell\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
