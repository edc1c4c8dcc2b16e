"""What does each address show of a project?"""

from __future__ import annotations

import re

import pytest

from trackyard import Client
from trackyard_page.access import SANDBOX

HOSTILE = "<script>document.title='stolen'</script>"  # as in filled_project.py
PART = {"hx-request": "true"}


def rows(answer):
    return re.findall(r'<th scope="row"><a[^>]*>([^<]*)</a>', answer.text)


def every_address(ids):
    one, other, pipeline = ids["baseline"], ids[HOSTILE], ids["training"]
    yield from ("/runs", "/pipelines", "/health", f"/compare?run={one}&run={other}")
    for id_ in ids.values():
        yield f"/runs/{id_}"
        yield f"/runs/{id_}/console"
    yield f"/runs/{pipeline}/more"
    yield f"/runs/{other}/preview?name=words.json"
    yield f"/runs/{pipeline}/output?step=load&name=output"


@pytest.mark.slow
def test_nothing_that_a_run_contains_becomes_markup(reader, ids):
    for address in every_address(ids):
        for headers in ({}, PART):
            answer = reader.get(address, headers=headers)
            assert answer.status_code == 200, address
            assert HOSTILE not in answer.text, address
            assert "\"'<" not in answer.text
    assert "&lt;script&gt;" in reader.get("/runs").text


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("wid", ["wider"]),
        ("metrics.loss < 0.01 and params.rate = 0.01", ["baseline"]),
        ("pipeline = 'training'", 1),
        ("tags.stage = 'nothing'", []),
    ],
)
def test_the_table_is_filtered_by_words_and_by_the_language_of_search_runs(reader, asked, expected):
    found = rows(reader.get("/runs", params={"filter": asked}))

    assert found == expected or len(found) == expected


def test_a_wrong_filter_is_pointed_at(reader):
    answer = reader.get("/runs", params={"filter": "metrics.loss <"}, headers=PART)

    assert answer.status_code == 200
    assert 'role="alert"' in answer.text
    assert "^" in answer.text


def test_the_table_is_sorted_and_its_columns_are_chosen(reader):
    query = {"order_by": "metrics.loss DESC", "column": ["metrics.loss", "tags.stage"]}
    answer = reader.get("/runs", params=query)

    assert rows(answer)[:3] == ["&lt;script&gt;document.title=&#39;stolen&#39;&lt;/script&gt;",
                                "wider", "baseline"]  # fmt: skip
    assert re.findall(r'aria-sort="(\w+)"', answer.text) == ["none", "descending", "none"]
    assert answer.text.count('<svg class="spark"') == 3


def test_a_script_gets_a_part_and_a_reader_the_whole(reader):
    assert "<html" in reader.get("/runs").text
    assert "<html" not in reader.get("/runs", headers=PART).text


def test_a_curve_is_thinned_and_keeps_its_spike(reader, ids):
    asked = {"run": [ids["baseline"], ids["wider"]], "key": "loss"}
    found = reader.get("/curves", params=asked).json()["series"]

    assert [one["name"] for one in found] == ["baseline", "wider"]
    for one in found:
        assert len(one["x"]) <= 1200 < one["points"]
        assert one["y"][one["x"].index(1234)] == 1.5


def test_a_part_of_a_curve_has_all_its_points(reader, ids):
    asked = {"run": ids["baseline"], "key": "loss", "from": 1200, "to": 1300}
    (found,) = reader.get("/curves", params=asked).json()["series"]

    assert found["x"] == list(range(1199, 1302))


def test_a_smoothed_curve_begins_where_the_curve_does(reader, ids):
    asked = {"run": ids["baseline"], "key": "loss", "smooth": 0.9}
    (found,) = reader.get("/curves", params=asked).json()["series"]

    assert found["y"][0] == pytest.approx(1.0)
    assert max(found["y"]) < 1.1


def test_what_is_no_number_is_no_point(reader, ids):
    (found,) = reader.get("/curves", params={"run": ids["baseline"], "key": "odd"}).json()["series"]

    assert found["y"] == [None, 3.0]


@pytest.mark.parametrize("name", ["pictures/a b.svg", "page.html"])
def test_a_file_is_sent_in_a_sandbox(reader, ids, name):
    headers = reader.get(f"/runs/{ids[HOSTILE]}/file", params={"name": name}).headers

    assert headers["content-security-policy"] == SANDBOX
    assert headers["x-content-type-options"] == "nosniff"


def test_a_pipelines_graph_folds_maps_and_names_what_waits(reader, ids):
    text = reader.get(f"/runs/{ids['training']}").text

    assert re.findall(r"data-name=\"(\w+)\" data-waits='([^']*)'", text) == [
        ("load", "[]"), ("square", '["load"]'), ("train", '["square"]')
    ]  # fmt: skip
    assert "12 calls" in text
    assert text.count('class="is-finished" x=') == 14  # in the timeline: load, 12 calls, train
    assert text.count("<line ") == 3


def test_a_failing_pipeline_shows_what_failed_and_what_was_skipped(reader, ids):
    text = reader.get(f"/runs/{ids['failing']}").text

    assert re.findall(r'class="node is-(\w+)"', text) == [
        "finished",
        "finished",
        "failed",
        "skipped",
    ]
    assert ">explode</a>: ValueError: no good" in text


def test_a_call_of_a_map_leads_to_its_pipeline_and_to_the_others(reader, filled, ids):
    calls = Client(filled).get_pipeline_run(ids["training"]).steps
    text = reader.get(f"/runs/{calls['square[3]'].id}").text

    assert f"/runs/{ids['training']}" in text
    assert "in: training.load.output" in text
    assert all(f"/runs/{calls[f'square[{number}]'].id}" in text for number in range(12))


def test_a_comparison_begins_with_what_differs(reader, ids):
    text = reader.get("/compare", params={"run": [ids["baseline"], ids["wider"]]}).text

    assert text.index(">rate<") < text.index("Curves") < text.index("The same in all")


def test_a_run_that_is_not_there_is_said_in_a_line(reader):
    answer = reader.get("/runs/nothing")

    assert answer.status_code == 404
    assert "&#39;nothing&#39;" in answer.text


def test_nothing_is_changed_unless_that_was_allowed(reader, ids):
    assert reader.post(f"/runs/{ids['wider']}/change", data={}).status_code == 404
    assert '<form method="post"' not in reader.get(f"/runs/{ids['wider']}").text


def test_a_form_of_the_page_changes_a_run_and_a_forged_one_does_not(editor, filled, ids):
    address = f"/runs/{ids['wider']}/change"
    (token, *_) = re.findall(
        'name="form_token" value="([^"]+)"', editor.get(f"/runs/{ids['wider']}").text
    )
    wanted = {"action": "tag", "key": "reviewed", "value": "yes"}

    assert editor.post(address, data=wanted).status_code == 403
    assert editor.post(address, data=wanted | {"form_token": "forged"}).status_code == 403
    assert "reviewed" not in Client(filled).get_run(ids["wider"]).tags
    assert editor.post(address, data=wanted | {"form_token": token}).status_code == 303
    assert Client(filled).get_run(ids["wider"]).tags["reviewed"] == "yes"
