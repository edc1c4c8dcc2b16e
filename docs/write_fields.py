"""Write each flavor's fields into its page, as its class declares them.

Run it with `uv run docs/write_fields.py` after a change; a test says when that is due.
"""

import importlib
import inspect
import re
import sys
from pathlib import Path

import attrs

PAGES = Path(__file__).parent / "flavors"
PLUGINS = Path(__file__).parents[1] / "plugins"
FIELDS = re.compile(
    r"(<!-- fields of ([\w.:]+); .*? -->\n).*?(<!-- end of fields -->)", flags=re.DOTALL
)


def table(reference: str) -> str:
    """Describe the fields of a flavor class, given as `module:Class`."""
    sys.path += map(str, PLUGINS.glob("*/src"))  # not all are installed
    module, _, name = reference.partition(":")
    flavor = getattr(importlib.import_module(module), name)
    rows = [["field", "type", "default", "variable", "what it says"]]
    for field in attrs.fields(flavor):
        if field.init:
            variable = field.metadata.get("env") or ""
            shown = f"`{variable}`" if variable else ""
            rows.append(
                [
                    f"`{field.name}`",
                    kind(field),
                    default(field),
                    shown,
                    field.metadata.get("help", ""),
                ]
            )
    if not any(row[3] for row in rows[1:]):
        rows = [[*row[:3], row[4]] for row in rows]
    rows.insert(1, ["---"] * len(rows[0]))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def kind(field: attrs.Attribute) -> str:
    written = field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)
    return re.sub(r"\w+\.", "", written).replace("|", "\\|")


def default(field: attrs.Attribute) -> str:
    if field.default is attrs.NOTHING:
        return "must be set"
    if not isinstance(field.default, attrs.Factory):
        return "" if field.default is None else f"`{str(field.default).lower()}`"
    factory = field.default.factory
    return f"`{factory()!r}`" if factory in (dict, list) else factory.__doc__ or ""


def written(page: str) -> str:
    """Give a page's text with the tables as they should be."""
    return FIELDS.sub(lambda found: f"{found[1]}\n{table(found[2])}\n{found[3]}", page)


if __name__ == "__main__":
    for path in sorted(PAGES.glob("*.md")):
        before = path.read_text(encoding="utf-8")
        if written(before) != before:
            path.write_text(written(before), encoding="utf-8")
            print(f"{path} has changed", file=sys.stderr)
