"""How are series of pandas stored, and frames whose columns have other names than texts?

As a frame with numbered columns; the labels are among the frame's own notes.
"""

from __future__ import annotations

import io
import sys
from typing import Any, BinaryIO

from trackyard.outputs.tables import PandasMaterializer
from trackyard.outputs.values import decode, encode


class LabelledMaterializer:
    """Series and frames of pandas, with labels of any plain values."""

    name = "pandas-labelled"
    suffix = ".parquet"

    def can_save(self, value: Any) -> bool:
        """Those whose types Parquet keeps, and whose labels come back."""
        pandas = sys.modules.get("pandas")
        if pandas is None or type(value) not in (pandas.DataFrame, pandas.Series):
            return False
        if not PandasMaterializer().can_save(_numbered(value)):
            return False
        sample, file = value.iloc[:0], io.BytesIO()
        self.save(sample, file)
        file.seek(0)
        again = self.load(file)
        return all(
            type(one) is type(other) and one.equals(other) and one.names == other.names
            for one, other in zip(_labels(again), _labels(sample), strict=True)
        )

    def save(self, value: Any, file: BinaryIO) -> None:
        """Write the frame with numbered columns."""
        PandasMaterializer().save(_numbered(value), file)

    def load(self, file: BinaryIO) -> Any:
        """Read the frame, and give it its labels."""
        import pandas

        frame = PandasMaterializer().load(file)
        kind, columns, names, notes = decode(frame.attrs["labels"])
        frame.index.names = names
        if kind == "series":
            value = frame.iloc[:, 0].rename(columns)
        else:
            value = frame
            value.columns = _made(pandas, *columns)
        value.attrs = notes
        return value


def _numbered(value: Any) -> Any:
    """Give a frame with numbers for names, and the names in its notes."""
    is_series = value.ndim == 1
    frame = value.to_frame(name="0") if is_series else value.copy(deep=False)
    columns = value.name if is_series else _parts(value.columns)
    kind = "series" if is_series else "frame"
    frame.attrs = {"labels": encode([kind, columns, list(value.index.names), dict(value.attrs)])}
    frame.columns = [str(number) for number in range(frame.shape[1])]
    levels = frame.index.nlevels
    frame.index = frame.index.set_names(
        [None] if levels == 1 else [f"index {number}" for number in range(levels)]
    )
    return frame


def _parts(columns: Any) -> list[Any]:
    """Give what `_made` makes the same labels of."""
    if hasattr(columns, "start"):
        return ["range", [columns.start, columns.stop, columns.step], list(columns.names)]
    return [str(columns.dtype) if columns.nlevels == 1 else None, list(columns), [*columns.names]]


def _made(pandas: Any, kind: str | None, labels: list[Any], names: list[Any]) -> Any:
    if kind == "range":
        return pandas.RangeIndex(*labels, name=names[0])
    if kind is None:
        return pandas.MultiIndex.from_tuples(labels, names=names)
    return pandas.Index(labels, dtype=kind, name=names[0], tupleize_cols=False)


def _labels(value: Any) -> list[Any]:
    """Give the labels as indexes, to be compared."""
    if value.ndim == 2:
        return [value.columns, value.index]
    return [value.to_frame().columns, value.index]
