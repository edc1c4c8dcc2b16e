"""The files that a run logged, and what steps gave: how is each shown without running it?"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs
from starlette.responses import Response

from trackyard import ArtifactNotFoundError, Client, OutputError
from trackyard_page.access import SANDBOX
from trackyard_page.rendering import Pages

if TYPE_CHECKING:
    from starlette.requests import Request

_IMAGES = ("png", "jpg", "jpeg", "gif", "webp", "bmp", "svg")
_FRAMES = ("html", "htm")
# Types that a browser shows without running them; anything else is saved.
_SHOWN = {
    **{name: f"image/{name}" for name in ("png", "gif", "webp", "bmp", "jpeg")},
    "jpg": "image/jpeg", "svg": "image/svg+xml", "html": "text/html; charset=utf-8",
    "htm": "text/html; charset=utf-8", "mp4": "video/mp4", "webm": "video/webm",
    "mp3": "audio/mpeg", "wav": "audio/wav", "ogg": "audio/ogg", "flac": "audio/flac",
    **dict.fromkeys(("txt", "log", "json", "csv", "md", "yaml", "yml", "toml", "py"),
                    "text/plain; charset=utf-8"),
}  # fmt: skip
_TEXTS = tuple(name for name, kind in _SHOWN.items() if kind.startswith("text/plain"))
_AUDIO, _VIDEO = ("mp3", "wav", "ogg", "flac"), ("mp4", "webm")
# Bytes and rows of a preview, and formats of outputs whose loading runs no code.
_MOST, _ROWS = 60_000, 50
_LARGEST = 4_000_000
_PLAIN = ("text", "json", "values", "values-2", "numpy", "pandas", "polars", "arrow")


@attrs.frozen
class FileView:
    """A file as a page shows it.

    Attributes:
        name: Its name in the run.
        way: `media`, `table`, `frame` or `other`.
        tag: Of media: `img`, `audio` or `video`.
        size: Its bytes, where they are known.
        steps: Of each time that it was logged its training step, the latest last.
    """

    name: str
    way: str
    tag: str = ""
    size: int | None = None
    kind: str = ""
    steps: tuple[Any, ...] = (None,)


def files_of(step: Any) -> list[FileView]:
    """List the files of a step; no tracker is asked for it.

    Args:
        step: The step.
    """
    if step.artifacts.here is None:
        return [FileView(name, *_shape(name, "")) for name in step.artifacts.shown()]
    return [
        FileView(
            file.name,
            *_shape(file.name, file.kind),
            size=file.size,
            kind=file.kind,
            steps=tuple(one.step for one in (*file.earlier, file)),
        )
        for file in step.artifacts.values()
        if file.kind != "histogram"
    ]


def _shape(name: str, kind: str) -> tuple[str, str]:
    end = _end(name)
    if end in _IMAGES:
        return "media", "img"
    if end in _AUDIO or end in _VIDEO:
        return "media", "audio" if end in _AUDIO else "video"
    if kind == "table":
        return "table", ""
    return ("frame", "") if end in _FRAMES else ("other", "")


def _end(name: str) -> str:
    return name.rpartition(".")[2].lower()


def show_file(request: Request, client: Client, _: Pages) -> Response:
    """Answer with a file itself, in a sandbox: it may be opened on its own.

    Args:
        request: What is asked.
        client: Reads the project.
    """
    file = _file(request, client)
    end = _end(file.name)
    name = quote(file.name.rpartition("/")[2])
    way = "inline" if end in _SHOWN and "save" not in request.query_params else "attachment"
    headers = {
        "content-security-policy": SANDBOX,
        "content-disposition": f"{way}; filename*=UTF-8''{name}",
    }
    return Response(file.read_bytes(), 200, headers, _SHOWN.get(end, "application/octet-stream"))


def show_preview(request: Request, client: Client, pages: Pages) -> Response:
    """Answer with a table or the first part of a text.

    Args:
        request: What is asked.
        client: Reads the project.
        pages: Renders the answer.
    """
    file = _file(request, client)
    if file.kind == "table":
        return pages.answer(request, "_preview.html", text="", **_table(file))
    text = "This kind of file has no preview; save it."
    if _end(file.name) in _TEXTS or file.kind in ("text", "table", "dataset"):
        with file.open("rb") as opened:
            content = opened.read(_MOST)
        text = content.decode("utf-8", "replace") + ("\n…" if file.size > _MOST else "")
    return pages.answer(request, "_preview.html", text=text, heads=[], rows=[], left_out=0)


def show_output(request: Request, client: Client, pages: Pages) -> Response:
    """Answer with what a step gave, where looking at it runs no code of the project's.

    Args:
        request: What is asked.
        client: Reads the project.
        pages: Renders the answer.
    """
    given = request.query_params
    version = given.get("version", "")
    if version.isdecimal():
        output: Any = client.get_output(given.get("name", ""), int(version))
    else:
        pipeline = client.get_pipeline_run(request.path_params["id"])
        output = pipeline.steps[given.get("step", "")].outputs[given.get("name", "")]
    nothing: dict[str, Any] = {"heads": [], "rows": [], "left_out": 0}
    if output.materializer not in _PLAIN or output.size > _LARGEST:
        text = f"{output.materializer}, {output.size:,} bytes: {output.uri}"
        return pages.answer(request, "_preview.html", text=text, **nothing)
    try:
        value = output.load()
    except OutputError as error:
        return pages.answer(request, "_preview.html", text=str(error), **nothing)
    columns = getattr(value, "columns", None)
    if columns is not None and not isinstance(value, dict):
        return pages.answer(request, "_preview.html", text="", **_frame(value))
    text = value if isinstance(value, str) else repr(value)
    with contextlib.suppress(TypeError, ValueError):
        text = (
            json.dumps(value, indent=1, ensure_ascii=False) if not isinstance(value, str) else text
        )
    return pages.answer(request, "_preview.html", text=text[:_MOST], **nothing)


def _file(request: Request, client: Client) -> Any:
    run = client.get_run(request.path_params["id"])
    name = request.query_params.get("name", "")
    file = run.steps[0].artifacts[name] if len(run.steps) == 1 else run.artifacts[name]
    number = request.query_params.get("n", "")
    versions = (*file.earlier, file)
    if number.isdecimal():
        if int(number) >= len(versions):
            raise ArtifactNotFoundError(f"{name!r} was logged {len(versions)} times")
        return versions[int(number)]
    return file


def _table(file: Any) -> dict[str, Any]:
    """Give the first rows of a logged table: columns and data, or rows by name."""
    try:
        content = file.read_json()
    except ValueError:
        return {"heads": [], "rows": [["This table cannot be read; save it."]], "left_out": 0}
    if isinstance(content, dict) and {"columns", "data"} <= content.keys():
        heads, rows = content["columns"], content["data"]
    elif isinstance(content, list) and content and isinstance(content[0], dict):
        heads = list(dict.fromkeys(key for row in content for key in row))
        rows = [[row.get(key) for key in heads] for row in content]
    else:
        heads, rows = [], [[content]]
    return _rows(heads, rows)


def _frame(frame: Any) -> dict[str, Any]:
    heads = [str(name) for name in frame.columns]
    first = frame.head(_ROWS)
    rows = (
        first.values.tolist() if hasattr(first, "values") else [list(row) for row in first.rows()]
    )
    return {"heads": heads, "rows": rows, "left_out": max(0, len(frame) - _ROWS)}


def _rows(heads: Sequence[Any], rows: Sequence[Any]) -> dict[str, Any]:
    return {"heads": heads, "rows": rows[:_ROWS], "left_out": max(0, len(rows) - _ROWS)}
