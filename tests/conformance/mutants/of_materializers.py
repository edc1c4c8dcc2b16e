"""Formats with one fault each; their correct twin is the example of the page."""

from __future__ import annotations

import io
import json
import marshal
import os
import pickle
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import attrs
from company_format import Signal, SignalMaterializer

KEPT: list[Any] = []


class RoundsValues(SignalMaterializer):
    """It writes single precision."""

    caught_by = "test_values_come_back"

    def load(self, file: BinaryIO) -> Any:
        found = super().load(file)
        return attrs.evolve(found, values=tuple(round(n, 6) for n in found.values))


class LosesMinusZero(SignalMaterializer):
    """It adds zero to what it reads."""

    caught_by = "test_values_come_back"

    def load(self, file: BinaryIO) -> Any:
        found = super().load(file)
        return attrs.evolve(found, values=tuple(n + 0.0 for n in found.values))


class LosesNaN(SignalMaterializer):
    """It has zero in place of what is no number."""

    caught_by = "test_values_come_back"

    def load(self, file: BinaryIO) -> Any:
        found = super().load(file)
        return attrs.evolve(found, values=tuple(n if n == n else 0.0 for n in found.values))


class LosesLetters(SignalMaterializer):
    """It writes ASCII, whatever the name."""

    caught_by = "test_values_come_back"

    def load(self, file: BinaryIO) -> Any:
        found = super().load(file)
        return attrs.evolve(found, sensor=found.sensor.encode("ascii", "ignore").decode())


class LosesTheEmpty(SignalMaterializer):
    """It has no values in common with an empty signal."""

    caught_by = "test_values_come_back"

    def load(self, file: BinaryIO) -> Any:
        found = super().load(file)
        return found if found.values else None


class GivesLists(SignalMaterializer):
    """It gives another type than it took."""

    caught_by = "test_values_come_back"

    def load(self, file: BinaryIO) -> Any:
        found = super().load(file)
        return attrs.evolve(found, values=list(found.values))


class TakesSubclasses(SignalMaterializer):
    """It takes what is more than a text for a text."""

    caught_by = "test_edge_values_come_back"

    def can_save(self, value: Any) -> bool:
        return super().can_save(value) or isinstance(value, str)

    def save(self, value: Any, file: BinaryIO) -> None:
        if isinstance(value, str):
            file.write(b"\n" + value.encode("utf-8", "surrogatepass"))
        else:
            super().save(value, file)

    def load(self, file: BinaryIO) -> Any:
        data = file.read()
        if data.startswith(b"\n"):
            return data[1:].decode("utf-8", "surrogatepass")
        return super().load(_file(data))


class LosesTheIndex(SignalMaterializer):
    """It takes frames, and writes their columns alone."""

    caught_by = "test_edge_values_come_back"

    def can_save(self, value: Any) -> bool:
        return super().can_save(value) or type(value).__name__ == "DataFrame"

    def save(self, value: Any, file: BinaryIO) -> None:
        if super().can_save(value):
            super().save(value, file)
        else:
            file.write(b"\n" + pickle.dumps({name: list(value[name]) for name in value.columns}))

    def load(self, file: BinaryIO) -> Any:
        data = file.read()
        if not data.startswith(b"\n"):
            return super().load(_file(data))
        import pandas

        return pandas.DataFrame(pickle.loads(data[1:]))


class ReadsOnly(SignalMaterializer):
    """It gives arrays that look into the bytes of the file, which nobody can change."""

    caught_by = "test_edge_values_come_back"

    def can_save(self, value: Any) -> bool:
        return super().can_save(value) or (_is_array(value) and value.ndim == 1)

    def save(self, value: Any, file: BinaryIO) -> None:
        if isinstance(value, Signal):
            super().save(value, file)
        else:
            file.write(b"[]\n" + value.tobytes())

    def load(self, file: BinaryIO) -> Any:
        data = file.read()
        if not data.startswith(b"[]"):
            return super().load(io.BytesIO(data))
        import numpy

        return numpy.frombuffer(data[3:])


class LosesTheFillValue(SignalMaterializer):
    """It takes masked arrays, and writes their numbers and masks alone."""

    caught_by = "test_edge_values_come_back"

    def can_save(self, value: Any) -> bool:
        return super().can_save(value) or type(value).__name__ == "MaskedArray"

    def save(self, value: Any, file: BinaryIO) -> None:
        if isinstance(value, Signal):
            super().save(value, file)
        else:
            file.write(b"[" + json.dumps([value.data.tolist(), value.mask.tolist()]).encode())

    def load(self, file: BinaryIO) -> Any:
        data = file.read()
        if not data.startswith(b"[["):
            return super().load(io.BytesIO(data))
        import numpy

        return numpy.ma.MaskedArray(*json.loads(data[1:]))


def _is_array(value: Any) -> bool:
    return type(value).__name__ == "ndarray" and value.dtype == "float64"


class RaisesWhenAsked(SignalMaterializer):
    """It looks into values that are not its own."""

    caught_by = "test_can_save_raises_nothing"

    def can_save(self, value: Any) -> bool:
        return bool(value) and super().can_save(value)


class SaysNoToItsOwn(SignalMaterializer):
    """It refuses what its author wants it to hold."""

    caught_by = "test_values_are_taken"

    def can_save(self, value: Any) -> bool:
        return super().can_save(value) and len(value.values) > 0


class ChangesTheValue(SignalMaterializer):
    """It puts values in order before it writes them."""

    caught_by = "test_value_stays_as_it_was"

    def save(self, value: Any, file: BinaryIO) -> None:
        super().save(value, file)
        object.__setattr__(value, "unit", value.unit or "1")


class WritesTheTime(SignalMaterializer):
    """It writes who has saved a value."""

    caught_by = "test_bytes_are_the_same_in_each_process"

    def save(self, value: Any, file: BinaryIO) -> None:
        file.write(f"{os.getpid()}\n".encode())
        super().save(value, file)

    def load(self, file: BinaryIO) -> Any:
        file.readline()
        return super().load(file)


class NeedsItsProcess(SignalMaterializer):
    """It writes where in its process's memory a value is."""

    caught_by = "test_another_process_loads_it"

    def save(self, value: Any, file: BinaryIO) -> None:
        if value not in KEPT:
            KEPT.append(value)
        file.write(str(KEPT.index(value)).encode())

    def load(self, file: BinaryIO) -> Any:
        return KEPT[int(file.read())]


class WritesMarshal(SignalMaterializer):
    """It writes what other versions of Python may not read."""

    caught_by = "test_file_is_not_bound_to_one_python"

    def save(self, value: Any, file: BinaryIO) -> None:
        file.write(marshal.dumps((value.sensor, value.unit, value.values)))

    def load(self, file: BinaryIO) -> Any:
        return Signal(*marshal.loads(file.read()))


class Pickles(SignalMaterializer):
    """It pickles and does not say so."""

    caught_by = "test_loading_runs_no_code"

    def save(self, value: Any, file: BinaryIO) -> None:
        file.write(pickle.dumps(value))

    def load(self, file: BinaryIO) -> Any:
        return pickle.loads(file.read())


class Evaluates(SignalMaterializer):
    """It reads a file as Python."""

    caught_by = "test_loading_runs_no_code"

    def load(self, file: BinaryIO) -> Any:
        data = file.read()
        if not data.startswith(b"{"):
            return eval(data)
        return super().load(_file(data))


class WritesBeside(SignalMaterializer):
    """It keeps a description beside the file."""

    caught_by = "test_nothing_is_written_elsewhere"

    def save(self, value: Any, file: BinaryIO) -> None:
        super().save(value, file)
        Path("signal.json").write_text(json.dumps(value.sensor))


class LeavesATemporaryFile(SignalMaterializer):
    """It writes to a file of its own first, and leaves that."""

    caught_by = "test_nothing_is_written_elsewhere"

    def save(self, value: Any, file: BinaryIO) -> None:
        with tempfile.NamedTemporaryFile(delete=False) as own:
            super().save(value, own)
        file.write(Path(own.name).read_bytes())


class HoldsAFile(SignalMaterializer):
    """It opens a file and never closes it."""

    caught_by = "test_no_file_is_held_open"

    def load(self, file: BinaryIO) -> Any:
        KEPT.append(os.open(os.devnull, os.O_RDONLY))
        return super().load(file)


class IsLazy(SignalMaterializer):
    """Its values are read when they are needed, from a file that is closed then."""

    caught_by = "test_values_come_back"

    def load(self, file: BinaryIO) -> Any:
        return attrs.evolve(Signal("", "", ()), values=iter(lambda: file.read(8), b""))


class SwallowsErrors(SignalMaterializer):
    """It leaves half a file where the disk is full, and says nothing."""

    caught_by = "test_full_disk_is_an_error"

    def save(self, value: Any, file: BinaryIO) -> None:
        with suppress(OSError):
            super().save(value, file)


class SharesABuffer(SignalMaterializer):
    """It keeps the value that it saves."""

    caught_by = "test_threads_share_it"

    def save(self, value: Any, file: BinaryIO) -> None:
        self.value = value
        file.write(b"")
        for _ in range(3):
            os.sched_yield()
        super().save(self.value, file)


class KeepsWhatItLoads(SignalMaterializer):
    """It gives what it has loaded last, which may be another thread's."""

    caught_by = "test_threads_share_it"

    def load(self, file: BinaryIO) -> Any:
        self.loaded = super().load(file)
        return self.loaded


class HasATakenName(SignalMaterializer):
    """Its name is one of Trackyard's."""

    caught_by = "test_artifact_store_takes_it"
    name = "json"


class HasAnOddName(SignalMaterializer):
    """Its suffix has no dot."""

    caught_by = "test_name_and_suffix_are_fit_for_a_file"
    suffix = "signal"


class TakesMoreThanASignal(SignalMaterializer):
    """It takes what is more than a signal, and gives a signal."""

    caught_by = "test_subclass_is_not_taken_for_its_base"

    def can_save(self, value: Any) -> bool:
        return isinstance(value, Signal)


class ClosesTheFile(SignalMaterializer):
    """It wraps the file, and closes it with the wrapper."""

    caught_by = "test_file_is_left_open"

    def save(self, value: Any, file: BinaryIO) -> None:
        super().save(value, file)
        file.close()


class TakesEveryListOfSignals(SignalMaterializer):
    """It takes what is more than a list, and gives a list."""

    caught_by = "test_subclass_is_not_taken_for_its_base"
    examples: ClassVar[list[Any]] = [[Signal("a", "V", (1.0,))]]

    def can_save(self, value: Any) -> bool:
        return isinstance(value, list) and len(value) == 1 and type(value[0]) is Signal

    def save(self, value: Any, file: BinaryIO) -> None:
        super().save(value[0], file)

    def load(self, file: BinaryIO) -> Any:
        return [super().load(file)]


class LoadsOnce(TakesEveryListOfSignals):
    """It remembers what it has loaded, and gives it again."""

    caught_by = "test_each_load_gives_a_value_of_its_own"

    def can_save(self, value: Any) -> bool:
        return type(value) is list and super().can_save(value)

    def load(self, file: BinaryIO) -> Any:
        data = file.read()
        if data not in self._known:
            self._known[data] = super().load(_file(data))
        return self._known[data]

    _known: ClassVar[dict[bytes, Any]] = {}


def _file(data: bytes) -> Any:
    import io

    return io.BytesIO(data)
