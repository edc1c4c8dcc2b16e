"""Does a filter find what a loop over the same runs finds, on both databases?"""

from __future__ import annotations

import operator
import re

import postgresql
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from trackyard.store import Store
from trackyard.store.opening import database_at
from trackyard.store.search import search

KEYS = ("loss", "val/loss", "a b", "nothing")
TEXTS = ("prod", "Prod", "prod_1", "0.2", "0.20", "1", "it's", "a%b", "", "[x]*?")
NUMBERS = (0, 0.2, 1, -1.5, 1e6, 20)
COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
}
ATTRIBUTES = {"name": "name", "user": "user_name", "commit": "git_commit", "status": "status"}
PARAMS = (0.2, "0.20", "0.2", "prod", 1, True, None, "it's", [1, 2])


def summary_of(number):
    """Give what a run logged, another one for each number."""
    metrics = {
        key: {"points": 1, "last": value, "least": value, "greatest": value}
        for place, key in enumerate(KEYS[:3])
        if (number + place) % 3
        for value in [float("nan") if number % 11 == place else NUMBERS[(number + place) % 6]]
    }
    params = {
        key: PARAMS[(number * 5 + i) % 9] for i, key in enumerate(KEYS[:3]) if number & 1 << i
    }
    tags = {key: TEXTS[(number * 3 + i) % 10] for i, key in enumerate(KEYS[:3]) if number % (i + 2)}
    return {"params": params, "tags": tags, "metrics": metrics, "artifacts": []}


def columns_of(number):
    return {
        "id": f"{number:032x}",
        "kind": "run",
        "name": TEXTS[number % 10] or "none",
        "experiment": "fraud",
        "status": ("finished", "failed", "running")[number % 3],
        "started_at": number * 1_000_000,
        "user_name": ("ada", "Bob", None)[number % 3],
        "git_commit": (None, "abc1", "abd2", "ff")[number % 4],
    }


def pipeline_of(number):
    """Give a pipeline run, and its two steps, which log."""
    run = {**columns_of(number), "kind": "pipeline", "group_id": f"{number:032x}"}
    of_run = {"parent_id": run["id"], "group_id": run["id"], "kind": "step"}
    steps = [
        {**columns_of(number + place), **of_run, "name": name}
        for place, name in ((1, "train"), (2, "test"))
    ]
    return run, steps


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with postgresql.database(tmp_path_factory) as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request, tmp_path_factory):
    """Give a store, and of each run its columns with what its own steps, or it, have logged."""
    if request.param == "sqlite":
        store = Store.in_folder(tmp_path_factory.mktemp("home"))
    else:
        store = Store(database_at(request.getfixturevalue("server"), "store"))
    runs = []
    for number in range(40):
        columns, logged = columns_of(number), {None: summary_of(number)}
        store.save_run(columns, logged[None])
        runs.append((columns, logged))
    for number in range(100, 120, 3):
        columns, steps = pipeline_of(number)
        logged = {step["name"]: summary_of(number + i) for i, step in enumerate(steps)}
        store.save_run(columns)
        for step in steps:
            store.save_run(step, logged[step["name"]])
        runs.append((columns, logged))
    yield store, runs
    store.close()


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def matches(pattern, text, *, ignores_case):
    parts = [{"%": ".*", "_": "."}.get(c, re.escape(c)) for c in pattern]
    flags = re.DOTALL | (re.IGNORECASE if ignores_case else 0)
    return re.fullmatch("".join(parts), text, flags) is not None


def text_test(draw):
    """Draw how a text is compared: as the language says it, and as Python does."""
    kind = draw(st.sampled_from(["=", "!=", "LIKE", "ILIKE", "in", "not in"]))
    if "in" in kind:
        some = draw(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3))
        said = f"{kind} ({', '.join(map(quoted, some))})"
        return said, lambda text: (text in some) == (kind == "in")
    if "LIKE" in kind:
        pattern = draw(st.sampled_from(("pro%", "%o_%", "PROD", "%", "_", "a%", "[x]*?", "0.2_")))
        is_blind = kind == "ILIKE"
        return f"{kind} {quoted(pattern)}", lambda t: matches(pattern, t, ignores_case=is_blind)
    text = draw(st.sampled_from(TEXTS))
    return f"{kind} {quoted(text)}", lambda t: COMPARE[kind](t, text)


def number_test(draw):
    sign, number = draw(st.sampled_from([*COMPARE])), draw(st.sampled_from(NUMBERS))
    return f"{sign} {number!r}", lambda value: COMPARE[sign](value, number)


def as_text(value):
    return value if isinstance(value, str) else str(value)


def as_number(value):
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


@st.composite
def leaves(draw):
    entity = draw(st.sampled_from(["metrics", "params", "tags", "attributes"]))
    if entity == "attributes":
        name = draw(st.sampled_from([*ATTRIBUTES]))
        said, test = text_test(draw)
        column = ATTRIBUTES[name]
        if column == "status":  # statuses are written in any case
            said, test = "= 'FAILED'", lambda text: text == "failed"
        return f"{name} {said}", lambda run: run[0][column] is not None and test(run[0][column])
    key = draw(st.sampled_from(KEYS))
    step = draw(st.sampled_from([None, None, "train"]))
    by_number = entity == "metrics" or (entity == "params" and draw(st.booleans()))
    said, test = number_test(draw) if by_number else text_test(draw)
    value_of = {"metrics": lambda v: v["last"], "tags": lambda v: v}.get(
        entity, as_number if by_number else as_text
    )
    is_null = draw(st.integers(0, 9)) == 0

    def holds(run):
        _, logged = run
        of = [s for name, s in logged.items() if step is None or name == step]
        found = [part[entity][key] for part in of if key in part[entity]]
        if is_null:
            return not found
        values = [value_of(item) for item in found]
        return any(v is not None and v == v and test(v) for v in values)

    before = f"steps.{step}." if step else ""
    return f"{before}{entity}.`{key}` {'is null' if is_null else said}", holds


filters = st.recursive(
    leaves(),
    lambda some: st.one_of(
        some.map(lambda f: (f"not ({f[0]})", lambda run: not f[1](run))),
        st.tuples(some, some).map(
            lambda two: (f"({two[0][0]} and {two[1][0]})", lambda r: two[0][1](r) and two[1][1](r))
        ),
        st.tuples(some, some).map(
            lambda two: (f"({two[0][0]} or {two[1][0]})", lambda r: two[0][1](r) or two[1][1](r))
        ),
    ),
    max_leaves=5,
)


def compare(filled, filter):
    store, runs = filled
    text, holds = filter
    found = {row.id for row in search(store, text, most=1000, skip=0)}
    assert found == {run[0]["id"] for run in runs if holds(run)}, text
    first = [row.id for row in search(store, text, most=len(found), skip=0)]  # one by one
    assert set(first) == found, text


OPTIONS = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}


@settings(max_examples=40, **OPTIONS)
@given(filter=filters)
def test_some_filters_find_what_a_loop_finds(filled, filter):
    compare(filled, filter)


@pytest.mark.slow
@settings(max_examples=500, **OPTIONS)
@given(filter=filters)
def test_500_filters_find_what_a_loop_finds(filled, filter):
    compare(filled, filter)
