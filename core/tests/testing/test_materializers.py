"""Do the formats that come with core keep the contract? Those that are like another are `slow`."""

from __future__ import annotations

from fractions import Fraction

import pytest

from trackyard.outputs import arrays, files, labelled, pickles, plain, tables, values
from trackyard.testing import MaterializerSuite
from trackyard.testing.values import Color, Record, edge_values

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
