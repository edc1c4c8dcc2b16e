"""Does a search find the runs that a filter means, and say which word is wrong?"""

from __future__ import annotations

import json
import sqlite3
from itertools import permutations, product

import postgresql
import pytest

from trackyard import Client, TrackyardError, log_metric, log_params, pipeline, start_run, step


@pytest.fixture
def client(project):
    for name, rate, loss in (("a", 0.1, 0.5), ("b", "0.20", 0.05), ("c", 0.3, None)):
        with start_run(name, experiment="fraud", tags={"stage": f"{name}-prod"}) as run:
            run.log_params({"rate": rate})
            if loss is not None:
                run.log_metrics({"loss": loss, "val/loss": loss / 2})

    @step
    def train():
        log_params({"depth": 3})
        log_metric("loss", 0.01)

    @pipeline(name="training")
    def training():
        train()

    training()
    return Client()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("metrics.loss < 0.1", {"b", "training"}),
        ("metrics.loss < 0.1 and params.rate = '0.20'", {"b"}),
        ("params.rate = 0.2", {"b"}),
        ("params.rate = '0.2'", set()),
        ("metrics.`val/loss` >= 0.25", {"a"}),
        ("metrics.val/loss >= 0.25", {"a"}),
        ("tags.stage LIKE '%-prod' and not (name = 'a' or name = 'b')", {"c"}),
        ("tags.stage LIKE '%-PROD'", set()),
        ("tags.stage ILIKE '%-PROD'", {"a", "b", "c"}),
        ("params.rate != '0.1'", {"b", "c"}),
        ("metrics.loss is null", {"c"}),
        ("run_name in ('a', 'c') and status = 'FINISHED'", {"a", "c"}),
        ("steps.train.metrics.loss < 1", {"training"}),
        ("attributes.start_time > 0", {"a", "b", "c", "training"}),
        ("", {"a", "b", "c", "training"}),
    ],
)
def test_a_filter_finds_what_it_means(client, text, names):
    assert {run.name.partition("-")[0] for run in client.search_runs(text)} == names


def test_runs_that_fit_are_counted(client):
    assert client.count_runs("metrics.loss < 0.1") == 2
    assert client.count_runs() == 4


def test_columns_are_named_each_once(client):
    assert client.list_columns() == [
        *("metrics.loss", "metrics.val/loss", "params.depth", "params.rate", "tags.stage"),
    ]
    assert client.list_columns(most=1) == ["metrics.loss", "params.depth", "tags.stage"]


def test_a_found_run_has_a_small_curve_of_each_metric(client):
    (run,) = client.search_runs("name = 'a'")

    assert run.curves == {"loss": (0.5,), "val/loss": (0.25,)}


def test_found_runs_are_sorted_paged_and_a_frame(client):
    found = client.search_runs(order_by="metrics.loss DESC")

    assert [run.name.partition("-")[0] for run in found] == ["a", "b", "training", "c"]
    second = client.search_runs(order_by="metrics.loss DESC", limit=2, page=2)
    assert [run.id for run in second] == [run.id for run in found[2:]]
    frame = client.search_runs("metrics.loss < 0.1", "metrics.loss").to_pandas()
    assert list(frame["metrics.loss"]) == [0.01, 0.05]
    assert client.search_runs("name = 'a'").to_polars()["params.rate"].to_list() == [0.1]


def test_of_several_keys_the_next_one_counts_where_the_one_before_is_equal(project):
    for name, rate, loss in [("a", 0.1, 3), ("b", 0.1, 1), ("c", 0.2, 2), ("d", None, 0)]:
        with start_run(name) as run:
            run.log_params({"rate": rate} if rate else {})
            run.log_metric("loss", loss)

    def found(*keys):
        return "".join(run.name for run in Client().search_runs(order_by=keys))

    assert found("params.rate", "metrics.loss DESC") == "abcd"
    assert found("params.rate DESC", "metrics.loss") == "cbad"
    assert found("params.rate", "start_time") == "abcd"
    assert found("status", "name DESC") == "dcba"


def test_of_several_keys_a_pipelines_run_has_the_first_of_its_steps_values(project):
    @step(experiment_tracker=None)
    def fit(loss):
        log_metric("loss", loss)

    @pipeline
    def training():
        fit(0.3)
        fit(0.1)

    training()
    with start_run("block") as run:
        run.log_metric("loss", 0.2)

    for order in ("metrics.loss", "metrics.loss DESC"):
        found = Client().search_runs(order_by=["status", order])
        assert [run.kind for run in found] == ["pipeline", "run"]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with postgresql.database(tmp_path_factory) as url:
        yield url


@pytest.mark.parametrize("place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_the_first_of_several_keys_are_those_that_come_first_where_all_are_sorted(
    project, request, place
):
    if place == "postgresql":
        project.configure(f'store = "{request.getfixturevalue("database")}"\n')

    def log(number):
        log_params({"rate": number % 3} if number % 7 else {})
        log_metric("loss", number % 5)
        if number % 4:
            log_metric("accuracy", number * 7 % 11)

    @step(experiment_tracker=None)
    def fit(number):
        log(number)

    @pipeline
    def training(number):
        fit(number)
        fit(number + 1)

    for number in (0, 8, 11):
        training(number)
    for number in range(22):
        with start_run(f"run-{number % 15}", experiment=f"e{number % 2}"):
            log(number)

    client = Client()
    keys = ("params.rate", "metrics.loss DESC", "experiment", "name DESC", "metrics.accuracy")
    orders = [*permutations(keys, 2), *zip(keys, keys[2:], keys[1:], strict=False)]
    for order, text in product(orders, ("", "metrics.loss != 1")):
        whole = [run.id for run in client.search_runs(text, order, limit=5000)]  # sorts all
        for limit, page in ((1, 1), (2, 4)):
            found = client.search_runs(text, order, limit=limit, page=page)
            assert [run.id for run in found] == whole[limit * (page - 1) : limit * page], order


def test_where_few_of_many_runs_fit_those_are_found(project):
    for number in range(40):  # more than are tried one by one where one is wanted
        with start_run(f"run-{number:02}") as run:
            run.log_metric("loss", number)

    names = [run.name for run in Client().search_runs("metrics.loss > 37", "metrics.loss", limit=1)]
    latest = [run.name for run in Client().search_runs("metrics.loss < 2", limit=1)]
    assert (names, latest) == (["run-38"], ["run-01"])


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("metrics.loss <", 14),
        ("metrics.loss < 'x'", 15),
        ("los.loss < 1", 0),
        ("stat = 'x'", 0),
        ("name = 'x'; drop table runs", 10),
        ("tags.stage = 3", 13),
    ],
)
def test_the_word_that_is_wrong_is_pointed_at(client, text, column):
    with pytest.raises(TrackyardError) as caught:
        client.search_runs(text)

    assert str(caught.value).splitlines()[-1] == f"  {' ' * column}^"
    assert len(client.search_runs()) == 4


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--filter", "metrics.loss < 1", "--pipeline", "fraud"), {"a", "b"}),
        (("--filter", "metrics.loss < 1", "--status", "failed"), set()),
        (("--filter", "name = 'a' or name = 'b'", "--tag", "stage=b-prod"), {"b"}),
        (("--sort", "metrics.loss", "--since", "1h", "--pipeline", "training"), {"training"}),
        (("--sort", "metrics.loss", "--until", "1h"), set()),
        (("--columns", "metrics.loss", "--user", "nobody's"), set()),
    ],
)
def test_options_of_the_list_hold_beside_a_filter(client, project, options, names):
    done = project.trackyard("runs", "list", "--json", *options)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {run["name"].partition("-")[0] for run in found} == names
    assert isinstance(client, Client)


def test_an_option_that_a_filter_cannot_say_is_refused(client, project):
    done = project.trackyard("runs", "list", "--filter", "name = 'a'", "--parent", "b")

    assert done.returncode == 2
    assert "--parent cannot be combined with a search" in done.stderr
    assert isinstance(client, Client)


@pytest.mark.slow
def test_a_list_is_saved_by_a_name_and_shown_again(client, project):
    typed = ("--filter", "metrics.loss < 1", "--sort=metrics.loss", "--columns", "params.rate")
    saved = project.trackyard("runs", "list", *typed, "--as", "the best", "--page", "1")
    assert saved.returncode == 0, saved.stderr
    assert saved.stderr == "saved; to see it again, type: trackyard runs list 'the best'\n"

    def shown(*words):
        done = project.trackyard("runs", "list", *words)
        assert done.returncode == 0, done.stderr
        return [line.split("\t")[0].partition("-")[0] for line in done.stdout.splitlines()]

    assert shown("the best") == shown(*typed) == ["training", "b", "a"]
    assert shown("the best", "--limit", "1") == ["training"]
    assert shown("the best", "--reverse", "--as", "the worst") == ["a", "b", "training"]
    assert shown("the worst") == ["a", "b", "training"]
    assert len(client.search_runs()) == 4


@pytest.mark.slow
def test_a_list_that_nobody_saved_is_named_with_those_that_are_there(client, project):
    assert project.trackyard("runs", "list", "--sort", "name", "--as", "names").returncode == 0
    for words, text in (
        (("name",), "no list is saved as 'name'; did you mean 'names'?"),
        (("--reverse", "names"), "the name of a saved list stands first"),
        (("--filter", "los <", "--as", "wrong"), "the filter is wrong"),
        (("wrong",), "no list is saved as 'wrong'"),
    ):
        done = project.trackyard("runs", "list", *words)
        assert done.returncode != 0
        assert text in done.stderr
    assert len(client.search_runs()) == 4


def test_a_client_opens_the_store_once(client, monkeypatch):
    opened = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: opened.append(a) or connect(*a, **k))
    for _ in range(3):
        assert len(client.search_runs("metrics.loss < 0.1")) == client.count_runs(
            "metrics.loss < 0.1"
        )
    assert len(opened) == 1
