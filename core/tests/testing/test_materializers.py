"""Do the formats that come with core keep the contract? Those that are like another are `slow`."""

from __future__ import annotations

from fractions import Fraction

import pytest

from trackyard.outputs import arrays, files, labelled, pickles, plain, tables, values
from trackyard.testing import MaterializerSuite
from trackyard.testing.contract import BrokenContract
from trackyard.testing.running import run_file
from trackyard.testing.values import Color, Record, edge_values, is_same

EDGES = edge_values()


class TestText(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return plain.TextMaterializer()

    @pytest.fixture
    def values(self):
        return ["", "Zoë \r\n"]


class TestJson(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return plain.JsonMaterializer()

    @pytest.fixture
    def values(self):
        return [None, -0.0, [float("nan"), {"a": [True]}], {}]


class Lines:
    """A format that reads its file line by line, as one reads any file."""

    name = "tests-lines"
    suffix = ".lines"

    def can_save(self, value):
        return type(value) is tuple and all(type(n) is int for n in value)

    def save(self, value, file):
        file.writelines(b"%d\n" % number for number in value)

    def load(self, file):
        return tuple(int(line) for line in file)


@pytest.mark.slow
class TestLines(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return Lines()

    @pytest.fixture
    def values(self):
        return [(1, 2, -3), (*range(1000),)]


@pytest.mark.slow
class TestBytes(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return plain.BytesMaterializer()

    @pytest.fixture
    def values(self):
        return [b"", bytes(range(256))]


class TestValues(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return values.ValuesMaterializer()

    @pytest.fixture
    def values(self):
        return [(1, (2,)), {"a", "b"}, {1: "a"}, 1 + 2j]


class TestNumpy(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return arrays.NumpyMaterializer()

    @pytest.fixture
    def values(self):
        return [EDGES["numpy: floats"], EDGES["numpy: no items"]]


@pytest.mark.slow
class TestPandas(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return tables.PandasMaterializer()

    @pytest.fixture
    def values(self):
        return [EDGES["pandas: frame"], EDGES["pandas: an index with a name"]]


@pytest.mark.slow
class TestPolars(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return tables.PolarsMaterializer()

    @pytest.fixture
    def values(self):
        return [EDGES["polars: frame"]]


@pytest.mark.slow
class TestPolarsSeries(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return tables.PolarsSeriesMaterializer()

    @pytest.fixture
    def values(self):
        return [EDGES["polars: series"]]


class TestArrow(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return tables.ArrowMaterializer()

    @pytest.fixture
    def values(self):
        return [EDGES["polars: frame"].to_arrow()]


@pytest.mark.slow
class TestLabelled(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return labelled.LabelledMaterializer()

    @pytest.fixture
    def values(self):
        return [EDGES["pandas: series"]]


@pytest.mark.slow
class TestImage(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return files.ImageMaterializer()

    @pytest.fixture
    def values(self):
        from PIL import Image

        return [Image.new("RGB", (3, 2), "red"), Image.new("L", (1, 1))]


class TestPath(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return files.PathMaterializer()

    @pytest.fixture
    def values(self, tmp_path):
        folder = tmp_path / "given"
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "Zoë.txt").write_text("text")
        return [folder, folder / "inner" / "Zoë.txt"]

    @pytest.fixture
    def same(self):
        def content(path):
            inner = sorted(path.rglob("*")) if path.is_dir() else [path]
            return path.name, {
                str(p.relative_to(path)): p.read_bytes() for p in inner if p.is_file()
            }

        return lambda first, second: content(first) == content(second)


class TestPickle(MaterializerSuite):
    expected_failures = {
        "test_bytes_are_the_same_in_each_process": "a set is pickled in the order of its hashes",
        "test_file_is_not_bound_to_one_python": "what stands in no module is pickled as code",
    }

    @pytest.fixture
    def materializer(self):
        return pickles.PickleMaterializer()

    @pytest.fixture
    def values(self):
        return [Record("a", [float("nan")]), {Fraction(1, 3)}, Color.RED]


BROKEN = """
import pytest

from trackyard.testing import MaterializerSuite


class Broken:
    name = "broken"
    suffix = ".txt"

    def can_save(self, value):
        return type(value) is tuple

    def save(self, value, file):
        if value == (1,):
            file.seek(0)
        file.write(b"x" * len(value))

    def load(self, file):
        size = len(file.read())
        if size == 2:
            raise KeyError("two")
        return (None,) * size


class TestBroken(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return Broken()

    @pytest.fixture
    def values(self):
        return [VALUE]
"""
SEEN = {
    "(1,)": (
        "was stored as values: save raised UnsupportedOperation: the file cannot seek",
        "does not come back: UnsupportedOperation: the file cannot seek",
        "cannot be saved: UnsupportedOperation: the file cannot seek",
    ),
    "(None, None)": (
        "OutputError: ",
        "does not come back: KeyError: 'two'",
        "another process could not load and save",
    ),
    "[1]": ("was stored as json: texts, JSON and bytes are Trackyard's own", "", ""),
}
CHECKS = ("test_artifact_store_takes_it", "test_values_come_back", "test_another_process_loads_it")


@pytest.mark.parametrize("value", SEEN)
def test_error_of_a_format_is_said_of_its_value_in_each_check(value, tmp_path):
    file = tmp_path / "test_broken.py"
    file.write_text(BROKEN.replace("VALUE", value), encoding="utf-8")

    results = run_file(file, CHECKS)

    for check, words in zip(CHECKS, SEEN[value], strict=True):
        (result,) = [one for one in results if one.check == check]
        assert result.outcome == "failed", result
        assert words in result.reason


class Graph:
    """A class that says when it is equal, and not how it is shown."""

    def __init__(self, *edges):
        self.edges = edges

    def __eq__(self, other):
        return self.edges == other.edges

    __hash__ = None


class Bare:
    """A class that says neither."""


def test_class_needs_no_repr_to_be_compared():
    assert is_same(Graph(1, 2), Graph(1, 2))
    assert not is_same(Graph(1, 2), Graph(1))


def test_class_that_is_never_equal_needs_a_comparison():
    bare = Bare()

    assert is_same(bare, bare)
    with pytest.raises(BrokenContract, match="since the class has no `__eq__`; give the suite"):
        is_same(bare, Bare())
