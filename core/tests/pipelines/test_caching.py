"""Is a step's result made again when, and only when, what made it has changed?"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy
import pytest

from trackyard import step
from trackyard.contract.materializers import StoredOutput
from trackyard.pipelines.fingerprints import cache_key

# What is in braces changes.
CHANGING = r"""
def f(): return {}
---
def f(x={}): return x
---
def f(*, x={}): return x
---
def h(): return {}
def f(): return h()
---
def h2(): return {}
def h(): return h2()
def f(): return h()
---
h = lambda: {}
def f(): return h()
---
def f():
    def inner(): return h()
    return inner()
def h(): return {}
---
def f(): return [h() for _ in 'ab']
def h(): return {}
---
C = {}
def f(): return C
---
C = ({}, 2)
def f(): return C
---
C = [{}]
def f(): return C
---
C = dict(rate={})
def f(): return C['rate']
---
C = dict(a=[(dict(b={}),)])
def f(): return C
---
C = {{{}, 7}}
def f(): return C
---
C = frozenset([{}])
def f(): return C
---
def f(x): return x in {{'a', {}}}
---
class M:
    def go(self): return {}
def f(): return M().go()
---
class M:
    rate = {}
def f(): return M().rate
---
class M:
    @property
    def rate(self): return {}
def f(): return M().rate
---
class M:
    @staticmethod
    def go(): return {}
def f(): return M.go()
---
class M:
    @classmethod
    def go(cls): return {}
def f(): return M.go()
---
class M:
    class In:
        rate = {}
def f(): return M.In.rate
---
def h(): return {}
class M:
    def go(self): return h()
def f(): return M().go()
---
class B:
    def go(self): return {}
class M(B): pass
def f(): return M().go()
---
class T(type):
    def go(cls): return {}
class M(metaclass=T): pass
def f(): return M.go()
---
class M:
    def __init__(self, v): self.v = v
m = M({})
def f(): return m.v
---
class M:
    def go(self): return {}
m = M()
def f(): return m.go()
---
class M:
    def go(self): return {}
go = M().go
def f(): return go()
---
class M:
    __slots__ = ('v',)
    def __init__(self, v): self.v = v
m = M({})
def f(): return m.v
---
import functools
def h(x): return {}
g = functools.partial(h, 1)
def f(): return g()
---
import functools
def h(x): return x
g = functools.partial(h, {})
def f(): return g()
---
import functools
@functools.lru_cache
def h(): return {}
def f(): return h()
---
import functools
class M:
    @functools.cached_property
    def v(self): return {}
def f(): return M().v
---
import contextlib
@contextlib.contextmanager
def h(): yield {}
def f():
    with h() as v: return v
---
import functools
def decorated(function):
    @functools.wraps(function)
    def call(*args):
        return function(*args) + {}
    return call
@decorated
def f(): return 1
---
import functools
def decorated(function):
    @functools.wraps(function)
    def call(*args):
        return function(*args) + {}
    return call
@decorated
def h(): return 1
def f(): return h()
---
def made(v):
    def h(): return v
    return h
f = made({})
---
import dataclasses
@dataclasses.dataclass(frozen=True)
class C:
    rate: float = {}
def f(): return C()
---
import dataclasses
@dataclasses.dataclass
class C:
    rates: list = dataclasses.field(default_factory=lambda: [{}])
def f(): return C()
---
import attrs
@attrs.frozen
class C:
    rate: float = {}
c = C()
def f(): return c
---
import attrs
@attrs.frozen
class C:
    rate: float = {}
def f(): return C()
---
import attrs
@attrs.frozen
class C:
    rates: list = attrs.field(factory=lambda: [{}])
def f(): return C()
---
import enum
class E(enum.Enum):
    A = {}
def f(): return E.A
---
from typing import NamedTuple
class N(NamedTuple):
    a: int = {}
def f(): return N()
---
from trackyard import step
@step
def h(): return {}
def f(): return h()
---
import re
P = re.compile('a{}')
def f(): return P.match('a')
---
import numpy
C = numpy.full(3, {})
def f(): return C
---
import threading
def h(): return {}
class M:
    def __init__(self): self.call, self.lock = h, threading.Lock()
m = M()
def f(): return m.call()
---
def f() -> tuple[int, int]: return {}, 1
f = f
"""


@pytest.fixture
def key_of(tmp_path, monkeypatch):
    """Give the key of the function `f` of a module, which is written and imported anew."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def key(text, others=None):
        files = {"main_module.py": text, **(others or {})}
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(content)
        tops = {Path(name).parts[0].removesuffix(".py") for name in files}
        for name in [name for name in sys.modules if name.partition(".")[0] in tops]:
            del sys.modules[name]
        importlib.invalidate_caches()
        return cache_key(importlib.import_module("main_module").f, {})

    yield key
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("text", CHANGING.split("---"))
def test_change_of_what_a_step_uses_makes_another_key(key_of, text):
    before, same, after = (key_of(text.format(value)) for value in ("1", "1", "3"))

    assert None not in (before, same, after)
    assert before == same
    assert before != after


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("import helpers\ndef f(): return helpers.h()", "helpers.py"),
        ("import helpers as hp\ndef f(): return hp.VALUES", "helpers.py"),
        ("from helpers import h\ndef f(): return h()", "helpers.py"),
        ("from helpers import M\ndef f(): return M().go()", "helpers.py"),
        ("def f():\n import helpers\n return helpers.h()", "helpers.py"),
        ("def f():\n from helpers import h\n return h()", "helpers.py"),
        ("import helpers\ndef f(): return vars(helpers)", "helpers.py"),
        ("import pack.deep\ndef f(): return pack.deep.h()", "pack/deep.py"),
        ("from pack import deep\ndef f(): return deep.h()", "pack/deep.py"),
        ("def f():\n from pack import deep\n return deep.h()", "pack/deep.py"),
        ("def f():\n import pack.deep as d\n return d.h()", "pack/deep.py"),
        ("from pack import own\ndef f(): return own()", "pack/deep.py"),
    ],
)
def test_change_in_another_module_of_the_project_makes_another_key(key_of, text, place):
    inner = "VALUES = [{0}]\ndef h(): return {0}\nclass M:\n def go(self): return {0}\n"
    package = "def own():\n from . import deep\n return deep.h()\n"

    def key(value):
        others = {place: inner.format(value)}
        if place != "helpers.py":
            others["pack/__init__.py"] = package
        return key_of(text, others)

    before, same, after = key(1), key(1), key(3)
    assert before == same
    assert before != after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f():\n return 1", "\n\ndef f():\n    # a comment\n    return 1"),
        ("def f(): return h()\ndef h(): return 1", "def h(): return 1\ndef f(): return h()"),
        ("C = {'a', 'b'}\ndef f(): return C", "C = {'b', 'a'}\ndef f(): return C"),
        ("D = 1\ndef f(): return 1", "D = 2\ndef f(): return 1"),
        ("def load(): return 1\ndef f(m): return m.load()",) * 2,
        (
            "def load(): return 1\ndef f(m): return m.load()",
            "def load(): return 2\ndef f(m): return m.load()",
        ),
    ],
)
def test_what_changes_no_result_changes_no_key(key_of, before, after):
    assert key_of(before) == key_of(after)


def test_of_an_installed_package_the_version_counts(key_of, tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def key(version, body):
        (folder / "acme.py").write_text(f"__version__ = '{version}'\ndef h(): return {body}\n")
        sys.modules.pop("acme", None)
        return key_of("import acme\ndef f(): return acme.h()")

    assert key("1.0", "1") == key("1.0", "2")
    assert key("1.0", "2") != key("1.1", "2")


MUTUAL = """
import threading
import b_module
C = [1]
C.append(C)
LOCK = threading.Lock()
def f(n):
    with LOCK:
        return g(n - 1) if n else C
def g(n):
    return b_module.back(n)
class Node:
    def child(self):
        return Node()
    def call(self):
        return f(1), Node
NODE = Node()
NODE.me = NODE
def f2():
    return NODE
"""


def test_what_leads_back_to_itself_has_a_key(key_of):
    other = "import main_module\ndef back(n): return main_module.f(n), main_module.f2()\n"

    key = key_of(MUTUAL, {"b_module.py": other})
    assert key == key_of(MUTUAL, {"b_module.py": other})
    assert key != key_of(MUTUAL, {"b_module.py": other.replace("f(n)", "f(n + 1)")})


ODD = """
import enum, functools, re, attrs, dataclasses
from typing import NamedTuple
from trackyard import step, log_metric
from trackyard.pipelines.fingerprints import cache_key

class Kind(enum.Enum):
    A, B = {"a", "b", "c"}, frozenset({"d", "e", "f"})
class Pair(NamedTuple):
    first: set = {"x", "y", "z"}
@dataclasses.dataclass
class Data:
    names: set = dataclasses.field(default_factory=lambda: {"x", "y", "z"})
@attrs.frozen
class Config:
    names: frozenset = frozenset({"x", "y", "z"})
    nested: dict = attrs.field(factory=dict)
NAMES = {"one": {"x", "y", "z"}, "two": [frozenset({"u", "v", "w"})]}
CONFIG = Config(nested={"deep": {"p", "q", "r"}})
@functools.lru_cache
def helper(name):
    return name in {"left", "right", "middle"} or CONFIG.names
@step
def other():
    return Kind.A, Pair(), Data()
@step
def f(names):
    log_metric("a", 1)
    return helper(names), NAMES, other, re.compile("a|b")
print(cache_key(f.function, {"names": {"x", "y", "z"}, "data": Data(), "call": helper}))
"""


def test_key_is_the_same_in_each_process(tmp_path):
    (tmp_path / "script.py").write_text(ODD)
    seen = set()
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "script.py"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        seen.add(done.stdout)

    (key,) = seen
    assert len(key.strip()) == 64


class Model:
    def __init__(self, weights):
        self.weights = weights


def use(value):
    return value


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, True),
        (1, 1.0),
        ([1], (1,)),
        ({"a": 1}, {"a": 2}),
        ({1, 2}, {1, 3}),
        ([12, 3], [1, 23]),
        (Model([1]), Model([2])),
        (numpy.ones(3), numpy.ones((3, 1))),
        (numpy.float32(1), numpy.float64(1)),
        (Path("a"), Path("b")),
        (use, test_key_is_the_same_in_each_process),
        (lambda: 1, lambda: 2),
        (Model, Path),
        (StoredOutput("a", "json", 1, "0" * 64), StoredOutput("a", "json", 1, "1" * 64)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_arguments_make_another_key(first, second):
    key = cache_key(use, {"value": first})

    assert key is not None
    assert key == cache_key(use, {"value": first})
    assert key != cache_key(use, {"value": second})
    assert key != cache_key(use, {"other": first})


@pytest.mark.parametrize("value", [threading.Lock(), [threading.Lock()], Model(threading.Lock())])
def test_argument_that_cannot_be_compared_has_no_key(value):
    assert cache_key(use, {"value": value}) is None


def test_function_may_be_a_method_or_an_object_or_decorated():
    class Adder:
        def __init__(self, number):
            self.number = number

        def add(self):
            return self.number

        def __call__(self):
            return self.number

    @contextlib.contextmanager
    def opened():
        yield 1

    makers = (lambda n: Adder(n).add, Adder, lambda n: functools.partial(use, n))
    for make in makers:
        assert cache_key(make(1), {}) == cache_key(make(1), {})
        assert None is not cache_key(make(1), {}) != cache_key(make(2), {})
    assert cache_key(opened, {}) is not None


def test_where_an_input_lies_does_not_count():
    class Pair(NamedTuple):
        first: object

    here, there = (StoredOutput(uri, "json", 1, "0" * 64) for uri in ("a", "b"))
    for wrap in (lambda v: v, lambda v: [v], Pair):
        assert cache_key(use, {"value": wrap(here)}) == cache_key(use, {"value": wrap(there)})


def test_names_of_outputs_count():
    def make(annotation):
        def f():
            return 1, 2

        f.__annotations__["return"] = annotation
        return f

    named = Annotated[int, "a"], Annotated[int, "b"]
    assert cache_key(make(tuple[named]), {}) != cache_key(make(tuple[int, int]), {})
    assert cache_key(step(make(int)).function, {}) == cache_key(make(int), {})
