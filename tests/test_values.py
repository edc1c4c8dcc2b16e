"""Do odd values come back as they were from every tracker, or is each that does not named?"""

from __future__ import annotations

import datetime
import enum
import io
import json
import logging
import math
from pathlib import Path

import numpy
import pandas
import PIL.Image
import pytest
from all_flavors import FLAVORS, stored
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies as some
from left_behind import wait_until

from trackyard import Client, start_run
from trackyard.runs.differences import same_value

LOCAL = ["tensorboard", "trackio"]
NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Label(enum.Enum):
    CAT = "cat"


keys = some.one_of(
    some.text(max_size=5),
    some.sampled_from([None, 1, "1", 0.5, True, ("a", 1), Label.CAT, b"k", numpy.int64(7)]),
    some.dates(),
)
scalars = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(-(2**70), 2**70),
    some.floats(),
    some.text(max_size=8),
    some.binary(max_size=4),
    some.datetimes(),
    some.decimals(allow_nan=False, allow_infinity=False),
    some.sampled_from([*NUMBERS, Label.CAT, Path("a/b"), pandas.NaT, pandas.NA, 1j, "\ud800"]),
    some.floats(width=32).map(numpy.float32),
    some.integers(0, 2**64 - 1).map(numpy.uint64),
    some.lists(some.floats(), max_size=4).map(numpy.array),
    some.lists(some.integers(0, 9), min_size=1, max_size=4).map(pandas.Series),
)
odd = some.recursive(
    scalars,
    lambda inner: some.one_of(
        some.lists(inner, max_size=3),
        some.lists(inner, max_size=3).map(tuple),
        some.dictionaries(keys, inner, max_size=3),
    ),
    max_leaves=6,
)
pixels = some.one_of(
    *(
        some.integers(0, 2**31).map(
            lambda s, d=dtype, h=shape: _pixels(numpy.random.default_rng(s), d, h)
        )
        for dtype in ("bool", "uint8", "uint16", "int64", "float32", "float64")
        for shape in ((5, 6), (5, 6, 3), (3, 5, 6), (5, 6, 1))
    )
)


def _pixels(random, dtype, shape):
    most = {"bool": 1, "uint8": 255, "uint16": 65535, "int64": 255}.get(dtype)
    return (random.random(shape) if most is None else random.integers(0, most + 1, shape)).astype(
        dtype
    )


def text_of(value):
    """Say what docs/values.md says of a value without a place in JSON."""
    if isinstance(value, bytes):
        return value.decode() if _is_utf8(value) else str(value)
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


def _is_utf8(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def key_of(key):
    if key is None or isinstance(key, bool):
        return json.dumps(key)
    return key if isinstance(key, str) else text_of(key)


def same(value, read):
    """Tell whether what was read from JSON is the value, as the page says it."""
    if value is None or value is pandas.NaT or value is pandas.NA:
        return read is None
    if isinstance(value, bool | str):
        return type(read) is type(value) and read == value
    if isinstance(value, float | numpy.floating):
        number = NUMBERS.get(read, read) if isinstance(read, str) else read
        return isinstance(number, int | float) and repr(float(number)) == repr(float(value))
    if isinstance(value, int | numpy.integer):
        return type(read) is int and read == int(value)
    if isinstance(value, dict):
        is_whole = isinstance(read, dict) and len(read) == len(value)  # of equal keys one is left
        return is_whole and all(
            key_of(key) in read and same(inner, read[key_of(key)]) for key, inner in value.items()
        )
    if isinstance(value, list | tuple | numpy.ndarray | pandas.Series):
        items = list(value)
        is_whole = isinstance(read, list) and len(read) == len(items)
        return is_whole and all(map(same, items, read))
    return read == text_of(value)


def same_picture(array, data):
    """Tell whether a file shows an array; what is brighter than it can show is no matter here."""
    with PIL.Image.open(io.BytesIO(data)) as image:
        read = numpy.asarray(image)
    shown = array.squeeze()
    shown = shown.transpose(1, 2, 0) if shown.ndim == 3 and shown.shape[0] == 3 else shown
    scale = 255 if shown.dtype.kind in "bf" else 1
    return read.shape == shown.shape and bool(numpy.all(abs(shown * 1.0 * scale - read) <= 0.51))


def flat(key, value):
    """Give the keys that nested params get."""
    if isinstance(value, dict) and value:
        return [path for inner in value for path in flat(f"{key}.{key_of(inner)}", value[inner])]
    return [key]


def check(caplog, trackers, values, images):
    caplog.clear()
    with (
        caplog.at_level(logging.WARNING, "trackyard"),
        start_run("odd", experiment_tracker=trackers) as run,
    ):
        for number, value in enumerate(values):
            run.log_params({f"v{number}": value})
            run.log_dict({"value": value}, f"v{number}.json")
        run.log_table({"cell": values}, "all.json")
        for number, image in enumerate(images):
            run.log_image(image, f"i{number}")
    wait_until(lambda: not any(row.pending for row in Client().sync(patience=60)), 600)
    warnings = " | ".join(record.getMessage() for record in caplog.records)
    for tracker in trackers:
        _compare(stored(run.id, tracker), values, images, warnings, tracker)


def _compare(found, values, images, warnings, tracker):
    table = json.loads(found.artifacts["all.json"])
    for number, value in enumerate(values):
        name = f"v{number}.json"
        read = json.loads(found.artifacts[name])["value"]
        assert same(value, read) or f"'{name}'" in warnings, (tracker, value, read)
        cell = table["data"][number][0]
        assert same(value, cell) or "'all.json'" in warnings, (tracker, value, cell)
        _compare_params(found.params, f"v{number}", value, read, warnings, tracker)
    for number, image in enumerate(images):
        name = f"i{number}.png"
        is_same = same_picture(image, found.artifacts[name])
        assert is_same or f"'{name}'" in warnings, (tracker, image.dtype, image.shape)


def _compare_params(params, name, value, read, warnings, tracker):
    if isinstance(value, dict):
        assert len([key for key in params if key.split(".")[0] == name]) >= bool(value), tracker
        return
    wanted = value if isinstance(value, bool | int | float | str | None) else None
    if wanted is not None and "\ud800" not in str(wanted) and "\0" not in str(wanted):
        is_named = f"'{name}'" in warnings
        assert same_value(wanted, params[name]) or is_named, (tracker, value, params[name])
    assert name in params, (tracker, value, read)


def example(count):
    return {
        "values": some.lists(odd, min_size=count, max_size=count),
        "images": some.lists(pixels, min_size=5, max_size=5),
    }


# The first example of hypothesis is the plainest: all None.
QUICK = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.large_base_example,
         HealthCheck.data_too_large]  # fmt: skip


@seed(1)
@settings(max_examples=3, phases=[Phase.generate], deadline=None, suppress_health_check=QUICK)
@given(**example(45))
@pytest.mark.slow
def test_hundred_odd_values_come_back_from_local_trackers_or_are_named(
    place, caplog, values, images
):
    check(caplog, LOCAL, values, images)


@pytest.mark.long(reason="2,000 odd values, through all six flavors")
@settings(max_examples=23, phases=[Phase.generate], deadline=None, suppress_health_check=QUICK)
@given(**example(95))
def test_odd_values_come_back_from_every_tracker_or_are_named(place, caplog, values, images):
    check(caplog, list(FLAVORS), values, images)
