"""How do figures of any library become files: pictures, or pages?"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from trackyard.tracking.media_types import media_type_of

# What matplotlib writes beside images.
_DOCUMENTS = (".pdf", ".svg", ".svgz", ".eps", ".ps", ".pgf", ".html", ".htm")


def is_figure_name(name: str) -> bool:
    """Tell whether a name ends as files of figures do; `roc_lr0.01` does not."""
    path = PurePosixPath(name)
    kind = media_type_of(path.name) or ""
    return kind.startswith("image/") or path.suffix.lower() in (*_DOCUMENTS, ".webp")


def write_figure(figure: Any, path: Path) -> Path:
    """Write a figure, and give the file, whose suffix may be another one than the path's.

    Args:
        figure: A figure of matplotlib, its axes, a grid of seaborn, or a figure of plotly, altair,
            bokeh or another library that makes a page of it.
        path: The file; its suffix chooses the format of a picture, a page gets `.html`.

    Raises:
        TypeError: It is no figure.
    """
    save = _save_of(figure)
    if save is not None:
        save(path)
        return path
    page = path.with_suffix(".html")
    if hasattr(figure, "write_html"):
        figure.write_html(page)
    else:
        page.write_text(_page_of(figure), encoding="utf-8")
    return page


def is_page(figure: Any) -> bool:
    """Tell whether a figure is kept as a page, since it draws no picture itself."""
    return _save_of(figure) is None


def _save_of(figure: Any) -> Any:
    """Give what writes a figure as a picture to a path, or None."""
    if type(figure).__module__.startswith("seaborn."):  # `seaborn.objects.Plot` has `save` alone
        return getattr(figure, "savefig", None) or getattr(figure, "save", None)
    picture = _picture_of(figure)
    return None if picture is None else picture.savefig


def _picture_of(figure: Any) -> Any:
    """Give what has `savefig`: a figure, that of axes, or that of the first of many."""
    if hasattr(figure, "savefig"):
        return figure
    if hasattr(figure, "flat") and hasattr(figure, "shape"):  # `plt.subplots(2, 2)` gives arrays
        figure = next(iter(figure.flat), None)
    elif isinstance(figure, list | tuple) and figure:  # and `axes.plot` lists
        figure = next((part for part in figure if hasattr(part, "savefig")), figure[0])
    for name in ("figure", "fig"):
        owner = getattr(figure, name, None)
        if hasattr(owner, "savefig"):
            return owner
    return figure if hasattr(figure, "savefig") else None


def _page_of(figure: Any) -> str:
    if type(figure).__module__.partition(".")[0] == "bokeh":
        embed, resources = import_module("bokeh.embed"), import_module("bokeh.resources")
        return str(embed.file_html(figure, resources.INLINE))
    for name in ("to_html", "_repr_html_"):
        if hasattr(type(figure), name):
            return str(getattr(figure, name)())
    raise TypeError(
        f"{type(figure).__name__} has neither savefig() nor write_html(); "
        "give a figure, or log a picture of it by log_image"
    )
