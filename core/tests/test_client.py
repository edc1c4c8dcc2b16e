"""Does a program find the runs of its project?"""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from recorder import Recorder

from trackyard import Client, ConfigError, RunNotFoundError, log_metric, log_param, pipeline, step


@step
def load() -> int:
    return 1


@pipeline
def training():
    load()


@pipeline
def scoring():
    load()


def test_run_is_found_by_name_id_or_prefix(project):
    run = training()
    client = Client()

    for asked in (run.name, run.id, run.name[:12], run.id[:20]):
        assert client.get_pipeline_run(asked).id == run.id


def test_run_that_is_not_there_is_answered_with_the_latest(project):
    run = training()

    with pytest.raises(RunNotFoundError, match=f"the latest are: {run.name}"):
        Client().get_pipeline_run("zebra")


def test_runs_are_listed_the_latest_first(project):
    first, second, third = training(), scoring(), training()
    client = Client()

    assert [run.id for run in client.list_pipeline_runs()] == [third.id, second.id, first.id]
    assert [run.id for run in client.list_pipeline_runs(most=1)] == [third.id]
    assert [run.id for run in client.list_pipeline_runs("scoring")] == [second.id]


def test_client_finds_its_project_from_any_folder(project, tmp_path, monkeypatch):
    project.configure("")
    run = training()
    below = project.root / "deep" / "down"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert Client().get_pipeline_run(run.name).id == run.id

    monkeypatch.chdir(tmp_path)
    client = Client(project.root)
    assert client.get_pipeline_run(run.name).steps["load"].outputs["output"].load() == 1
    assert client.get_pipeline_run(run.name).steps["load"].status == "finished"


def test_client_of_an_empty_project_has_no_runs(project):
    assert Client().list_pipeline_runs() == []


def test_client_knows_the_active_stack(project):
    project.configure('active_stack = "team"\n')
    project.add_tracker("local", Recorder)
    with project.file.open("a") as file:
        file.write('[stacks.team]\nexperiment_trackers = ["local"]\n')
    client = Client()

    assert client.active_stack.name == "team"
    assert client.active_stack.experiment_trackers == ("local",)
    assert repr(client) == f"<Client {project.root / '.trackyard'}>"


@pytest.mark.parametrize(
    ("old", "new"), [("get_artifact", "get_output"), ("list_artifacts", "list_outputs")]
)
def test_old_name_of_a_call_says_what_to_type(project, old, new):
    with pytest.raises(AttributeError, match=rf"type: Client\(\)\.{new}\("):
        getattr(Client(), old)
    assert not hasattr(Client(), "get_artefact")


def test_client_of_a_wrong_configuration_says_so(project):
    project.configure("[stack.a]")

    with pytest.raises(ConfigError, match="unknown key; did you mean 'stacks'"):
        Client()


class Markup(HTMLParser):
    """Reads what a notebook shows: which elements there are, and whether each is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.texts = [], set(), []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.add(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


EVIL = "</td><script>alert('1')</script>&amp;"
SHOWN = {
    "run": lambda client, run: run,
    "step of a run": lambda client, run: run.steps["train"],
    "list_runs": lambda client, run: client.list_runs(),
    "get_run": lambda client, run: client.get_run(run.name),
    "step": lambda client, run: client.get_run(run.name).steps[0],
    "compare_runs": lambda client, run: client.compare_runs(run.name, run.name),
    "verify_run": lambda client, run: client.verify_run(run.name),
    "list_experiment_trackers": lambda client, run: client.list_experiment_trackers(),
    "get_experiment_tracker": lambda client, run: client.get_experiment_tracker("local"),
    "list_stacks": lambda client, run: client.list_stacks(),
    "active_stack": lambda client, run: client.active_stack,
    "list_flavors": lambda client, run: client.list_flavors(),
    "show_config": lambda client, run: client.show_config(),
}


@step(experiment_tracker="local")
def train() -> None:
    log_param(EVIL, EVIL)
    for number in range(3):
        log_metric(EVIL, number, step=number)


@pipeline
def evil():
    train()


@pytest.mark.parametrize("name", SHOWN)
def test_notebook_gets_whole_html_and_a_line_whatever_things_are_called(project, name):
    project.add_tracker("local", Recorder, label=EVIL)
    with project.file.open("a") as file:
        file.write(f'[stacks."{EVIL}"]\nexperiment_trackers = ["local"]\n')
        file.write(
            f'[stacks.default]\nexperiment_trackers = ["local"]\nlabels = {{a = "{EVIL}"}}\n'
        )
    shown = SHOWN[name](Client(), evil())
    markup = Markup(shown._repr_html_())

    assert markup.open == []
    assert "table" in markup.found
    pictures = {"svg", "polyline", "line", "text"}
    assert markup.found <= {"table", "tr", "th", "td", "p", "a"} | pictures
    for one in shown if isinstance(shown, list) else [shown]:
        assert len(repr(one).splitlines()) == 1
        assert len(repr(one)) < 250
    if name not in ("list_runs", "verify_run", "list_flavors", "step of a run", "run"):
        assert EVIL in "".join(markup.texts)
