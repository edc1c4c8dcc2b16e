"""How do arrays and images of Pillow become files that show what they show?

Only a user's own value brings numpy or Pillow in here.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from trackyard.system.png import png_of
from trackyard.tracking.arrays import array_of, is_tensor
from trackyard.tracking.media_types import media_type_of

_SUFFIXES = (
    (b"\x89PNG", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"GIF8", ".gif"), (b"BM", ".bmp"),
    (b"II*\0", ".tiff"), (b"MM\0*", ".tiff"),
)  # fmt: skip
# The suffixes of images that are known by their beginnings.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")
_CHANNELS = (1, 2, 3, 4)
# Modes of Pillow that are arrays of numbers rather than of colours.
_NUMBERS = ("F", "I", "I;16B", "I;16L")


def suffix_of(data: bytes) -> str | None:
    """Give the suffix of an image file from its first bytes, or None where they say nothing."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for start, suffix in _SUFFIXES if data.startswith(start)), None)


def is_image_name(name: str) -> bool:
    """Tell whether a name ends as files of images do; `lr0.01` does not."""
    kind = media_type_of(PurePosixPath(name).name) or ""
    return kind.startswith("image/") or PurePosixPath(name).suffix.lower() == ".webp"


def save_pillow(image: Any, path: Path, notes: list[str]) -> None:
    """Write an image of Pillow, in other colours where the file's format lacks its own.

    Args:
        image: The image, or an object with `save()` alone.
        path: The file, whose suffix chooses the format.
        notes: Gets what was changed.
    """
    mode = getattr(image, "mode", None)
    if mode in _NUMBERS and path.suffix.lower() not in (".tif", ".tiff"):
        import numpy

        save_array(numpy.asarray(image), path, notes)
        return
    try:
        image.save(path)
    except OSError:
        if mode is None:
            raise
        _convert(image, path, notes)


def save_array(array: Any, path: Path, notes: list[str]) -> None:
    """Write an array of height x width, with channels behind or before.

    Args:
        array: Truth values, integers from 0 to 255 or, grey, to 65535, or floats from 0 to 1; an
            array of numpy, or what becomes one, such as a tensor.
        path: The file, whose suffix chooses the format.
        notes: Gets what was changed.

    Raises:
        TypeError: Pillow is not there.
        ValueError: It has no shape or values of an image.
    """
    pixels = _pixels_of(array, notes)
    if pixels.dtype == "uint16" and path.suffix.lower() not in (".png", ".tif", ".tiff"):
        notes.append("16 bits became 8; name it .png to keep them")
        pixels = (pixels >> 8).astype("uint8")
    save_pillow(_from_array(pixels), path, notes)


def png_content(array: Any, notes: list[str]) -> bytes:
    """Give the file of an array as above, quickly: a PNG that may hold its pixels as they are.

    Args:
        array: The array.
        notes: Gets what was changed.

    Raises:
        TypeError: numpy is not there.
        ValueError: It has no shape or values of an image.
    """
    pixels = _pixels_of(array, notes)
    import numpy

    height, width, *more = pixels.shape
    channels = more[0] if more else 1
    bits = pixels.dtype.itemsize * 8
    data = pixels.astype(pixels.dtype.newbyteorder(">"), copy=False)
    rows = numpy.zeros((height, 1 + width * channels * bits // 8), "uint8")
    rows[:, 1:] = numpy.ascontiguousarray(data).view("uint8").reshape(height, -1)
    return png_of(memoryview(rows).cast("B"), width, height, channels, bits)


def is_plain_array(image: Any) -> bool:
    """Tell whether an image is an array that `png_content` takes, and not a picture or a file."""
    if isinstance(image, bytes | bytearray | memoryview | str | Path):
        return False
    return not hasattr(image, "save") or hasattr(image, "shape")


def image_of(image: Any, notes: list[str]) -> Any:
    """Give an image of Pillow for one, or for an array as above; of 8 bits.

    Args:
        image: The image or array.
        notes: Gets what was changed.

    Raises:
        TypeError: Pillow is not there.
        ValueError: It has no shape or values of an image.
    """
    if hasattr(type(image), "convert") and hasattr(image, "mode"):
        return image
    pixels = _pixels_of(image, notes)
    if pixels.dtype == "uint16":
        notes.append("16 bits became 8; give uint8, or floats from 0 to 1")
        pixels = (pixels >> 8).astype("uint8")
    return _from_array(pixels)


def _pixels_of(array: Any, notes: list[str]) -> Any:
    found = array_of(array, "an image", notes)
    import numpy

    pixels = _channels_last(found, notes, is_first_usual=is_tensor(array))
    if pixels.dtype.kind not in "buif":
        raise ValueError(f"an image has numbers, not {pixels.dtype}; convert it to uint8")
    return _in_range(pixels, numpy, notes)


def _from_array(pixels: Any) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise TypeError("an array as an image needs Pillow; type: pip install pillow") from error
    return Image.fromarray(pixels)


def _channels_last(pixels: Any, notes: list[str], *, is_first_usual: bool) -> Any:
    """Give an array of height x width, or with channels behind, whichever way it came."""
    shape = pixels.shape
    if pixels.ndim not in (2, 3) or 0 in shape:
        raise ValueError(
            f"an image has height, width and perhaps channels, not the shape {shape}; "
            "log each image of a batch by itself"
        )
    if pixels.ndim == 2:
        return pixels
    is_first, is_last = shape[0] in (1, 3, 4), shape[2] in _CHANNELS
    if not is_first and not is_last:
        raise ValueError(f"an image has 1, 3 or 4 channels, not the shape {shape}")
    if is_first and is_last and not is_first_usual:
        notes.append(
            f"the shape {shape} was read as height x width x channels; "
            "give array.transpose(1, 2, 0) if channels come first"
        )
    elif is_first:
        pixels = pixels.transpose(1, 2, 0)
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def _in_range(pixels: Any, numpy: Any, notes: list[str]) -> Any:
    """Give truth values, integers or floats as 8 bits, or as 16 where they are grey."""
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype == "uint8":
        return pixels
    if pixels.dtype.kind == "b":
        return pixels.astype("uint8") * 255
    if pixels.dtype.kind == "f":
        return _of_floats(pixels, numpy, notes)
    is_deep = pixels.dtype == "uint16" or (pixels.dtype.itemsize > 2 and pixels.max() > 255)
    if is_deep and pixels.ndim == 2 and pixels.min() >= 0 and pixels.max() < 2**16:
        return pixels.astype("uint16")
    if pixels.dtype == "uint16":
        notes.append("16 bits of colours became 8; log each channel by itself to keep them")
        return (pixels >> 8).astype("uint8")
    low, high = pixels.min(), pixels.max()
    if low < 0 or high > 255:
        notes.append(f"values from {low} to {high} were cut to 0 to 255; scale them before")
    return pixels.clip(0, 255).astype("uint8")


def _of_floats(pixels: Any, numpy: Any, notes: list[str]) -> Any:
    is_finite = numpy.isfinite(pixels)
    if not is_finite.all():
        notes.append("NaN became black, infinities black and white; give numbers")
    low, high = (
        (pixels[is_finite].min(), pixels[is_finite].max()) if is_finite.any() else (0.0, 1.0)
    )
    if low >= 0 and 1 < high <= 255:
        notes.append(f"floats to {high:g} were read as 0 to 255; give uint8, or floats from 0 to 1")
        scale = 1.0
    else:
        if low < 0 or high > 1:
            notes.append(
                f"floats from {low:g} to {high:g} were cut to 0 to 1; scale them before, "
                "such as by (image - image.min()) / (image.max() - image.min())"
            )
        scale = 255.0
    scaled = numpy.nan_to_num(pixels.astype("float64"), nan=0.0) * scale
    return scaled.clip(0.0, 255.0).round().astype("uint8")


def _convert(image: Any, path: Path, notes: list[str]) -> None:
    """Write an image whose colours the format does not know in red, green and blue."""
    mode, bands = image.mode, image.getbands()
    if ("A" in bands and mode != "LAB") or "transparency" in image.info:
        from PIL import Image

        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image).convert("RGB")
        notes.append(f"{path.suffix} has no transparency: it became white; name it .png")
    else:
        image = image.convert("RGB")
        keeps = ".tiff" if mode in ("CMYK", "LAB", "YCbCr") else ".png"
        if mode != "P":
            mend = "convert it to RGB" if path.suffix == keeps else f"name it {keeps}"
            notes.append(f"{path.suffix} has no colours of mode {mode}; {mend}")
    image.save(path)
