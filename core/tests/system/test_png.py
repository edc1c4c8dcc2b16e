"""Every program reads the PNG that pixels become at once, and it can be told and made smaller."""

from __future__ import annotations

import sys

import numpy
import PIL.Image
import pytest

from trackyard.system.png import is_plain, pack, png_of


def noise(height, width, channels, kind="uint8"):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return numpy.random.default_rng(0).integers(0, numpy.iinfo(kind).max, shape, kind)


def written(pixels, path):
    """Write pixels as a file by our own code."""
    height, width, *more = pixels.shape
    bits = pixels.dtype.itemsize * 8
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    path.write_bytes(png_of(data, width, height, more[0] if more else 1, bits))
    return path


@pytest.mark.parametrize(
    "pixels",
    [
        noise(64, 50, 1),
        noise(64, 50, 2),
        noise(64, 50, 3),
        noise(64, 50, 4),
        noise(64, 50, 1, "uint16"),
        noise(1, 1, 3),
        noise(300, 400, 3),  # of several blocks of zlib's
        numpy.zeros((64, 50, 3), "uint8"),
    ],
    ids=lambda pixels: f"{pixels.shape} {pixels.dtype}",
)
def test_pillow_reads_the_same_pixels(pixels, tmp_path):
    file = written(pixels, tmp_path / "a.png")

    with PIL.Image.open(file) as image:
        image.verify()
    with PIL.Image.open(file) as image:
        assert (numpy.asarray(image) == pixels).all()


def test_packed_file_is_smaller_shows_the_same_and_is_plain_no_more(tmp_path):
    columns = numpy.arange(200)
    pixels = numpy.stack([(columns[:, None] * 3 + columns * k) % 256 for k in (1, 2, 3)], -1)
    plain, packed = written(pixels.astype("uint8"), tmp_path / "a.png"), tmp_path / "b.png"

    assert is_plain(plain)
    assert pack(plain, packed)
    assert packed.stat().st_size < plain.stat().st_size / 2
    assert not is_plain(packed)
    with PIL.Image.open(packed) as image:
        assert (numpy.asarray(image) == pixels).all()


def test_files_of_others_and_pictures_of_few_colours_are_not_plain(tmp_path):
    PIL.Image.fromarray(noise(64, 64, 3)).save(tmp_path / "a.png", compress_level=0)
    mask = numpy.zeros((256, 256, 3), "uint8")
    mask[50:150, 60:200] = (255, 0, 0)
    (tmp_path / "c.png").write_bytes(b"")

    assert not is_plain(tmp_path / "a.png")
    assert not is_plain(tmp_path / "c.png")
    small = written(mask, tmp_path / "b.png")
    assert not is_plain(small)
    assert small.stat().st_size < 5000


def test_nothing_is_packed_without_pillow(tmp_path, monkeypatch):
    plain = written(noise(64, 64, 3), tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)

    assert not pack(plain, tmp_path / "b.png")
