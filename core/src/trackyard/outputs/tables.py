"""How are tables of pandas, polars and Arrow stored? As Parquet, where that keeps them equal.

pandas and Arrow need pyarrow. Whether a table keeps its types is tried on a copy without rows,
which costs the same for every size.
"""

from __future__ import annotations

import importlib.util
import io
import sys
from typing import Any, BinaryIO

import msgspec


class PandasMaterializer:
    """Data frames of pandas; others than those of plain columns are left to pickle."""

    name = "pandas"
    suffix = ".parquet"

    def can_save(self, value: Any) -> bool:
        """Frames whose columns, index and their types Parquet keeps."""
        pandas = sys.modules.get("pandas")
        if pandas is None or type(value) is not pandas.DataFrame or not _has_pyarrow():
            return False
        names = [*value.columns, *value.index.names]
        if not all(type(name) is str for name in value.columns) or len({*names}) != len(names):
            return False
        parts = [value[name] for name in value.columns] + [
            value.index.get_level_values(level) for level in range(value.index.nlevels)
        ]
        if not all(_is_plain(pandas, part) for part in parts) or not _is_json(value.attrs):
            return False
        # Parquet keeps the categories that occur: those are seen with all rows alone.
        is_categorical = any(isinstance(part.dtype, pandas.CategoricalDtype) for part in parts)
        sample = value if is_categorical else value.iloc[:0]
        again = self.load(io.BytesIO(_written(self, sample)))
        return bool(again.equals(sample) and again.dtypes.equals(sample.dtypes))

    def save(self, value: Any, file: BinaryIO) -> None:
        """Write the frame with its index."""
        value.to_parquet(file, engine="pyarrow")

    def load(self, file: BinaryIO) -> Any:
        """Read the frame."""
        import pandas

        return pandas.read_parquet(io.BytesIO(file.read()), engine="pyarrow")


class PolarsMaterializer:
    """Data frames of polars."""

    name = "polars"
    suffix = ".parquet"

    def can_save(self, value: Any) -> bool:
        """Frames of columns other than Python objects."""
        polars = sys.modules.get("polars")
        if polars is None or type(value) is not polars.DataFrame:
            return False
        if any(kind == polars.Object for kind in value.dtypes):
            return False
        return bool(self.load(io.BytesIO(_written(self, value.clear()))).schema == value.schema)

    def save(self, value: Any, file: BinaryIO) -> None:
        """Write the frame."""
        value.write_parquet(file)

    def load(self, file: BinaryIO) -> Any:
        """Read the frame."""
        import polars

        return polars.read_parquet(file.read())


class PolarsSeriesMaterializer:
    """Series of polars, as a frame of one column."""

    name = "polars-series"
    suffix = ".parquet"

    def can_save(self, value: Any) -> bool:
        """Series whose frame comes back."""
        polars = sys.modules.get("polars")
        is_series = polars is not None and type(value) is polars.Series
        return is_series and PolarsMaterializer().can_save(value.to_frame())

    def save(self, value: Any, file: BinaryIO) -> None:
        """Write the frame."""
        value.to_frame().write_parquet(file)

    def load(self, file: BinaryIO) -> Any:
        """Read the frame, and take its column."""
        return PolarsMaterializer().load(file).to_series()


class ArrowMaterializer:
    """Tables of pyarrow."""

    name = "arrow"
    suffix = ".parquet"

    def can_save(self, value: Any) -> bool:
        """Tables whose types Parquet keeps."""
        pyarrow = sys.modules.get("pyarrow")
        if pyarrow is None or type(value) is not pyarrow.Table:
            return False
        again = self.load(io.BytesIO(_written(self, value.slice(0, 0))))
        return bool(again.schema.equals(value.schema, check_metadata=True))

    def save(self, value: Any, file: BinaryIO) -> None:
        """Write the table."""
        from pyarrow import parquet

        # "Compliant" would rename what a list holds.
        parquet.write_table(value, file, use_compliant_nested_type=False)

    def load(self, file: BinaryIO) -> Any:
        """Read the table."""
        from pyarrow import BufferReader, parquet

        return parquet.read_table(BufferReader(file.read()))


def _has_pyarrow() -> bool:
    return "pyarrow" in sys.modules or importlib.util.find_spec("pyarrow") is not None


def _is_plain(pandas: Any, column: Any) -> bool:
    """Tell whether a column of Python objects holds texts alone; others have types of their own."""
    if column.dtype != object:
        return True
    return pandas.api.types.infer_dtype(column, skipna=False) in ("string", "empty")


def _is_json(attributes: Any) -> bool:
    """Tell whether a frame's own notes come back equal."""
    try:
        return bool(msgspec.json.decode(msgspec.json.encode(attributes)) == attributes)
    except (TypeError, ValueError, msgspec.MsgspecError):
        return False


def _written(materializer: Any, value: Any) -> bytes:
    """Give what a format writes, or nothing where it cannot hold the value at all."""
    file = io.BytesIO()
    materializer.save(value, file)
    return file.getvalue()
