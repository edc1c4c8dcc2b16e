"""What does a filter such as `metrics.loss < 0.1 and params.rate = '0.2'` say, as SQL?

It is the language that people know from tracking servers, with the same meaning; beyond it there
are `or`, `not` and parentheses, numbers
for params, `in` for every text, more attributes, and steps: `steps.train.metrics.loss < 1`. Every
value is bound. The parser is lark, which is imported where a filter is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import attrs

from trackyard.contract.errors import TrackyardError
from trackyard.contract.records import encodable
from trackyard.store.details import LONGEST
from trackyard.system.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

_GRAMMAR = r"""
?start: either
?either: both ("or"i both)*
?both: unary ("and"i unary)*
?unary: "not"i unary -> negated
      | "(" either ")"
      | name OP value -> comparison
      | name "is"i "null"i -> is_null
      | name "is"i "not"i "null"i -> is_not_null
      | name "in"i "(" value ("," value)* ")" -> among
      | name "not"i "in"i "(" value ("," value)* ")" -> not_among
name: part ("." part)*
part: WORD | QUOTED
value: NUMBER | STRING | QUOTED
OP: "<=" | ">=" | "!=" | "=" | "<" | ">" | /i?like\b/i
WORD: /(?!(and|or|not|in|is|like|ilike|null)\b)[A-Za-z_][\w\/:-]*/i
QUOTED: /`[^`]+`/ | /"[^"]*"/
STRING: /'(?:[^']|'')*'/
NUMBER: /[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?)(?![\w.])/i
%ignore /\s+/
"""
_ENTITIES = {
    **dict.fromkeys(("metric", "metrics"), "metrics"),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), "params"),
    **dict.fromkeys(("tag", "tags"), "tags"),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attributes"),
    "steps": "steps",
}
_MILLISECONDS = "{run}.{column} / 1000000"
_TEXTS = {
    "run_id": "id",
    "id": "id",
    "run_name": "name",
    "name": "name",
    "user_id": "user_name",
    "user": "user_name",
    "host": "host",
    "command": "command",
    "commit": "git_commit",
    "branch": "git_branch",
    "experiment": "experiment",
    "pipeline": "experiment",
    "status": "status",
    "kind": "kind",
    "stack": "stack",
    "note": "note",
    "error": "error",
}
_TIMES = {"start_time": "started_at", "created": "started_at", "end_time": "ended_at"}
ATTRIBUTES = (*_TEXTS, *_TIMES)
_NUMERIC = ("<", "<=", "=", "!=", ">", ">=")
_OF_TEXT = ("=", "!=", "LIKE", "ILIKE")


class FilterError(TrackyardError):
    """A filter, or what to sort by, says nothing that can be searched for."""


@attrs.frozen
class Condition:
    """A condition on the table `runs`, which the query calls `r`.

    Attributes:
        sql: Its text, with names where values go.
        values: The values by name.
    """

    sql: str
    values: dict[str, Any]


def compile_filter(text: str, *, is_postgresql: bool, is_of_each: bool = False) -> Condition:
    """Give a filter as SQL.

    Args:
        text: The filter; an empty one lets everything pass.
        is_postgresql: For PostgreSQL and not for sqlite.
        is_of_each: Written so that each run is looked at by itself, which is quick for a few runs,
            and not so that all that fit are gathered, which is quick for all.

    Raises:
        FilterError: It is none; the message points at the word that is wrong.
    """
    if not text.strip():
        return Condition("1 = 1", {})
    from lark import UnexpectedInput

    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        column = error.column - 1 if error.column and error.column > 0 else len(text)
        is_over = getattr(getattr(error, "token", None), "type", "") == "$END"
        raise _pointing(text, len(text) if is_over else column, "here it cannot go on") from error
    writer = _Writer(text, is_postgresql=is_postgresql, is_of_each=is_of_each)
    return Condition(writer.write(tree, "r"), writer.values)


@attrs.frozen
class SortedBy:
    """What runs are sorted by.

    Attributes:
        entity: `metrics`, `params`, or `attributes`.
        key: Its key, or the column of `runs`.
        column: Of a metric, which value: `last`, `least` or `greatest`.
        is_ascending: The least first.
    """

    entity: str
    key: str
    column: str = "last"
    is_ascending: bool = True


def sorted_by(text: str, side: str = "last") -> SortedBy:
    """Read what to sort by, as `metrics.loss DESC`.

    Args:
        text: A metric, a param or an attribute, and a direction.
        side: Of metrics, which value counts: `last`, `least` or `greatest`.

    Raises:
        FilterError: It is none of these.
    """
    found = re.fullmatch(r"\s*(.+?)(?:\s+(asc|desc))?\s*", text, re.IGNORECASE)
    entity, _, key = (found[1] if found else "").partition(".")
    is_ascending = not (found and found[2] and found[2].lower() == "desc")
    if not key:
        entity, key = "attributes", entity
    key = key[1:-1] if key[:1] in ('"', "`") and key[-1:] == key[:1] else key
    known = _ENTITIES.get(entity)
    if known == "attributes" and (column := {**_TEXTS, **_TIMES}.get(key)):
        return SortedBy(known, column, is_ascending=is_ascending)
    if known in ("metrics", "params") and key:
        return SortedBy(known, key, side, is_ascending)
    raise FilterError(
        f"{text!r} is nothing to sort by; type a metric, a param or an attribute, "
        f"such as 'metrics.loss DESC' or 'start_time'"
    )


class _Writer:
    """Writes a parsed filter as SQL.

    Args:
        text: The filter, for messages.
        is_postgresql: For PostgreSQL and not for sqlite.
        is_of_each: Written for each run by itself.
    """

    def __init__(self, text: str, *, is_postgresql: bool, is_of_each: bool) -> None:
        self.values: dict[str, Any] = {}
        self._is_of_each = is_of_each
        self._text = text
        self._is_postgresql = is_postgresql

    def write(self, tree: Tree[Token], run: str) -> str:
        match tree.data:
            case "either":
                return "(" + " OR ".join(self.write(part, run) for part in _trees(tree)) + ")"
            case "both":
                return "(" + " AND ".join(self.write(part, run) for part in _trees(tree)) + ")"
            case "negated":
                return f"NOT COALESCE({self.write(_trees(tree)[0], run)}, FALSE)"
            case "comparison":
                name, operator, value = tree.children
                op = str(operator).upper()
                return self._on(name, run, lambda name: self._compared(name, op, [value]))
            case "among" | "not_among":
                name, *values = tree.children
                op = "IN" if tree.data == "among" else "NOT IN"
                return self._on(name, run, lambda name: self._compared(name, op, values))
            case _:
                return self._null(tree.children[0], run, is_null=tree.data == "is_null")

    def _on(self, name: Any, run: str, test: Callable[[_Name], str]) -> str:
        """Write a condition on a run, or on its steps where it has what is asked for there."""
        found = self._name(name)
        if found.entity == "attributes":
            return test(attrs.evolve(found, table=run))
        inner = test(attrs.evolve(found, table="d"))
        fits = f"d.key = {self._bound(found.key)} AND {inner}"
        if self._is_of_each:
            return self._on_each(found, run, fits)
        rows = f"SELECT d.run FROM {found.entity} d WHERE {fits}"
        of_steps = f"SELECT s.parent_id FROM runs s WHERE s.kind = 'step' AND s.no IN ({rows})"
        if found.step is not None:
            return f"{run}.id IN ({of_steps} AND s.name = {self._bound(found.step)})"
        return f"({run}.no IN ({rows}) OR ({run}.kind = 'pipeline' AND {run}.id IN ({of_steps})))"

    def _on_each(self, found: _Name, run: str, fits: str) -> str:
        rows = f"SELECT 1 FROM {found.entity} d WHERE {fits} AND d.run ="
        # Not as a join: sqlite would begin it with all values that fit.
        of_steps = (
            f"SELECT 1 FROM runs s WHERE s.parent_id = {run}.id AND s.kind = 'step' "
            f"AND EXISTS ({rows} s.no)"
        )
        if found.step is not None:
            return f"EXISTS ({of_steps} AND s.name = {self._bound(found.step)})"
        return f"(EXISTS ({rows} {run}.no) OR ({run}.kind = 'pipeline' AND EXISTS ({of_steps})))"

    def _null(self, name: Any, run: str, *, is_null: bool) -> str:
        found = self._name(name)
        if found.entity == "attributes":
            return f"{found.expression(run)} IS {'' if is_null else 'NOT '}NULL"
        there = self._on(name, run, lambda _: "1 = 1")
        return f"NOT {there}" if is_null else there

    def _compared(self, name: _Name, op: str, values: list[Any]) -> str:
        tokens = [value.children[0] for value in values]
        is_number = tokens[0].type == "NUMBER"
        if name.is_numeric and not (is_number and op in _NUMERIC):
            raise self._wrong(tokens[0], f"{name.text} is compared with a number, by {_NUMERIC}")
        if not name.is_numeric and is_number and name.entity != "params":
            raise self._wrong(tokens[0], f"{name.text} is a text; write it in quotes")
        if is_number:
            if op not in (*_NUMERIC, "IN", "NOT IN"):
                raise self._wrong(tokens[0], f"{op} takes a text")
            numbers = [self._bound(float(token)) for token in tokens]
            column = name.expression(name.table, "number")
            right = f"({', '.join(numbers)})" if "IN" in op else numbers[0]
            return f"{column} {op} {right}"
        if op not in (*_OF_TEXT, "IN", "NOT IN"):
            raise self._wrong(tokens[0], f"texts are compared by {', '.join(_OF_TEXT)} and IN")
        texts = [self._said(name, token) for token in tokens]
        column = name.expression(name.table, "value")
        if "IN" in op:
            return f"{column} {op} ({', '.join(map(self._bound, texts))})"
        return self._like(column, op, texts[0])

    def _like(self, column: str, op: str, text: str) -> str:
        if op in ("=", "!="):
            return f"{column} {op} {self._bound(text)}"
        if self._is_postgresql:
            return f"{column} {op} {self._bound(text)} ESCAPE ''"
        if op == "ILIKE":
            return f"{column} LIKE {self._bound(text)}"
        pattern = re.sub(r"[\[*?]", lambda found: f"[{found[0]}]", text)  # LIKE ignores case here
        return f"{column} GLOB {self._bound(pattern.replace('%', '*').replace('_', '?'))}"

    def _said(self, name: _Name, token: Token) -> str:
        text = str(token)[1:-1]
        text = text.replace("''", "'") if token.type == "STRING" else text
        text = text.lower() if name.key == "status" and name.entity == "attributes" else text
        return encodable(text)[:LONGEST] if name.entity != "attributes" else encodable(text)

    def _name(self, tree: Tree[Token]) -> _Name:
        tokens = [part.children[0] for part in _trees(tree)]
        parts = [str(t)[1:-1] if t.type == "QUOTED" else str(t) for t in tokens]
        text = ".".join(parts)
        if len(parts) == 1:
            parts = ["attributes", *parts]
        is_named = len(tokens) == 1 or tokens[0].type == "WORD"  # a quoted word is no entity
        entity = _ENTITIES.get(parts[0].lower()) if is_named else None
        if entity is None:
            hint = did_you_mean(parts[0], _ENTITIES) or ""
            raise self._wrong(tokens[0], f"there are metrics, params, tags, attributes{hint}")
        if entity == "steps":
            inner = _ENTITIES.get(parts[2]) if len(parts) > 3 else None
            if inner not in ("metrics", "params", "tags"):
                raise self._wrong(tokens[0], "type such as steps.train.metrics.loss")
            return _Name(inner, ".".join(parts[3:]), text, parts[1])
        key = ".".join(parts[1:])
        if entity == "attributes":
            key = re.sub(r"^run name$", "run_name", key, flags=re.IGNORECASE)
            if key not in ATTRIBUTES:
                hint = did_you_mean(key, ATTRIBUTES) or f"; there are {listed(ATTRIBUTES)}"
                raise self._wrong(tokens[-1], f"no attribute {key!r}{hint}")
        return _Name(entity, key, text)

    def _bound(self, value: Any) -> str:
        name = f"f{len(self.values)}"
        self.values[name] = value
        return f":{name}"

    def _wrong(self, token: Token, problem: str) -> FilterError:
        return _pointing(self._text, (token.column or 1) - 1, problem)


@attrs.frozen
class _Name:
    entity: str
    key: str
    text: str
    step: str | None = None
    table: str = "d"

    @property
    def is_numeric(self) -> bool:
        return self.entity == "metrics" or (self.entity == "attributes" and self.key in _TIMES)

    def expression(self, table: str, column: str = "value") -> str:
        """Give what is compared."""
        if self.entity == "attributes":
            if self.key in _TIMES:
                return _MILLISECONDS.format(run=table, column=_TIMES[self.key])
            return f"{table}.{_TEXTS[self.key]}"
        return f"{table}.last" if self.entity == "metrics" else f"{table}.{column}"


def _trees(tree: Tree[Token]) -> list[Any]:
    return list(tree.children)


def _pointing(text: str, column: int, problem: str) -> FilterError:
    """Point at the word that is wrong."""
    line = " ".join(text.splitlines())
    return FilterError(f"the filter is wrong: {problem}\n  {line}\n  {' ' * column}^")


@cache
def _parser() -> Lark:
    from lark import Lark

    return Lark(_GRAMMAR, parser="lalr", propagate_positions=True, maybe_placeholders=False)
