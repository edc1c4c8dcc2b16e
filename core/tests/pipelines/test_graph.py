"""Is a pipeline checked before anything runs, and is each mistake in it named?"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy
import pytest
from recorder import Recorder

from trackyard import ConfigError, Pipeline, PipelineError, Step, pipeline, step
from trackyard.pipelines.graph import Output


@step
def load(rows: int = 3) -> list:
    """Load some rows."""
    return list(range(rows))


@step
def train(data: list, rate: float = 0.1) -> dict:
    return {"weights": data, "rate": rate}


@step
def evaluate(model: dict, data: list) -> float:
    return 0.5


@step
def both() -> tuple[int, str]:
    return 1, "a"


@step
def named() -> tuple[Annotated[int, "count"], Annotated[str, "label"]]:
    return 1, "a"


@step
def anything(value: Any = None): ...


def graph_of(function):
    return pipeline(function).build()[0]


def mistake(function, *args, **kwargs):
    with pytest.raises(PipelineError) as caught:
        pipeline(function).build(*args, **kwargs)
    return str(caught.value)


# The graph


def test_pipeline_is_the_graph_of_its_calls():
    def training():
        data = load()
        model = train(data)
        evaluate(model, data=data)

    graph = graph_of(training)

    assert list(graph.nodes) == ["load", "train", "evaluate"]
    assert graph.dependencies() == {
        "load": set(),
        "train": {"load"},
        "evaluate": {"load", "train"},
    }
    assert [node.position for node in graph.nodes.values()] == [0, 1, 2]


def test_defaults_are_arguments():
    def training():
        train([1])

    assert graph_of(training).nodes["train"].arguments == {"data": [1], "rate": 0.1}


def test_arguments_of_the_pipeline_reach_its_steps():
    @pipeline
    def training(rows, rate=0.5):
        train(load(rows), rate)

    graph, params = training.build(7)

    assert params == {"rows": 7, "rate": 0.5}
    assert graph.nodes["load"].arguments == {"rows": 7}
    assert graph.nodes["train"].arguments["rate"] == 0.5


def test_second_call_of_a_step_has_a_number():
    def training():
        for _ in range(3):
            load()

    assert list(graph_of(training).nodes) == ["load", "load_2", "load_3"]


def test_name_that_a_number_makes_may_be_taken():
    other = load.with_options(name="load_2")

    def training():
        other()
        load()
        load()

    assert "there is another step called 'load_2'; rename one" in mistake(training)


def test_outputs_are_found_inside_lists_tuples_and_dicts():
    def training():
        first, second = load(), load()
        anything({"a": [first, (second, {"b": train(first)})], "c": 5})

    assert graph_of(training).dependencies()["anything"] == {"load", "load_2", "train"}


def test_step_of_several_outputs_is_unpacked():
    def training():
        number, text = both()
        anything(number)
        count, label = named()
        anything([text, count, label])

    graph = graph_of(training)
    inputs = [output.name for output in graph.nodes["anything_2"].inputs()]

    assert inputs == ["output_1", "count", "label"]
    assert graph.dependencies()["anything_2"] == {"both", "named"}


def test_step_waits_for_what_it_comes_after():
    @step(after=[load, "train"])
    def report(): ...

    @step(after="report")
    def mail(): ...

    def training():
        mail()
        report()
        train(load())

    assert graph_of(training).dependencies()["report"] == {"load", "train"}
    assert graph_of(training).dependencies()["mail"] == {"report"}


def test_after_means_all_calls_of_a_step_that_stand_above():
    @step(after=load)
    def report(): ...

    def several():
        load.map([1, 2])
        report()
        load()
        report()

    waits = graph_of(several).dependencies()
    assert waits["report"] == {"load[0]", "load[1]"}
    assert waits["report_2"] == {"load[0]", "load[1]", "load_2"}


def test_after_may_name_one_call_of_several():
    def several():
        load()
        load()
        both.with_options(after="load_2")()

    assert graph_of(several).dependencies()["both"] == {"load_2"}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("timeout", 0),
        ("timeout", math.nan),
        ("timeout", math.inf),
        ("timeout", "60"),
        ("retry_delay", None),
        ("retry_delay", -1),
        ("retry_delay", math.inf),
    ],
)
def test_seconds_that_are_none_are_refused(option, value):
    with pytest.raises(PipelineError, match=f"step 'load': {option} must be"):
        load.with_options(**{option: value})


def test_outside_a_pipeline_a_step_is_the_plain_function():
    assert train([1], rate=0.5) == {"weights": [1], "rate": 0.5}
    assert both() == (1, "a")


def test_step_called_inside_a_step_is_the_plain_function(project):
    @step
    def outer():
        return len(load(4))

    @pipeline
    def nested():
        outer()

    assert nested().steps["outer"].outputs["output"].load() == 4


def test_wrappers_look_like_their_functions():
    assert isinstance(load, Step)
    assert (load.__name__, load.__doc__, load.__wrapped__) == (
        "load",
        "Load some rows.",
        load.function,
    )
    assert repr(load) == "<Step load>"
    assert repr(pipeline(name="nightly")(lambda: None)) == "<Pipeline nightly>"
    assert isinstance(pipeline(lambda: None), Pipeline)


def test_step_may_be_made_anew_with_other_options():
    other = load.with_options(name="fetch", retries=2, experiment_tracker="local")

    assert (other.name, other.retries, other.experiment_tracker) == ("fetch", 2, "local")
    assert other.function is load.function
    assert (load.name, load.retries) == ("load", 0)


def test_any_callable_is_a_step():
    class Trainer:
        def __call__(self, data):
            return len(data)

    def training():
        step(functools.partial(lambda a, b: a + b, 1))(2)
        step(name="trainer")(Trainer())([1])

    assert list(graph_of(training).nodes) == ["step", "trainer"]


# Mistakes


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train(rate=1), "missing a required argument: 'data'; it takes (data: "),
        (lambda: train(data=[], rat=1), "unexpected keyword argument 'rat'; did you mean 'rate'?"),
        (lambda: train([], zebra=1), "unexpected keyword argument 'zebra'; it takes (data"),
        (lambda: train([], 1, 2), "too many positional arguments; it takes"),
        (lambda: train([], data=[]), "multiple values for argument 'data'"),
    ],
)
def test_argument_that_does_not_fit_is_named(call, message):
    text = mistake(call)

    assert ", step 'train': " in text
    assert message in text


def test_argument_of_the_pipeline_that_does_not_fit_is_named():
    def training(rate=0.1): ...

    text = mistake(training, raet=5)
    assert text.startswith("pipeline 'training': got an unexpected keyword argument 'raet'")
    assert "did you mean 'rate'?" in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train("abc"), "argument 'data' wants list, not 'abc'"),
        (lambda: train([], "fast"), "argument 'rate' wants float, not 'fast'"),
        (lambda: load("3"), "argument 'rows' wants int, not '3'"),
        (lambda: load(3.5), "argument 'rows' wants int, not 3.5"),
        (lambda: train(evaluate({}, [])), "wants list, and the step before it gives float"),
        (lambda: train([], [*named()][1]), "wants float, and the step before it gives str"),
    ],
)
def test_type_that_can_never_fit_is_named(call, message):
    assert message in mistake(call)


@pytest.mark.parametrize(
    "call",
    [
        lambda: train([], 1),
        lambda: train([], numpy.float32(0.5)),
        lambda: load(numpy.int64(3)),
        lambda: load(True),
        lambda: train(anything()),
        lambda: anything(both()),
        lambda: evaluate(train(load()), load()),
        lambda: optional(None),
        lambda: optional("a"),
        lambda: lenient(None),
        lambda: untyped(lambda: 1),
        lambda: unknown_types(5),
    ],
)
def test_type_that_may_fit_is_left_to_the_step(call):
    assert graph_of(call).nodes


@step
def optional(a: Optional[int]): ...  # noqa: UP045


@step
def lenient(a: int = None): ...  # noqa: RUF013


@step
def untyped(a): ...


@step
def unknown_types(a: NotImportedHere) -> AlsoNot: ...  # noqa: F821


def test_step_that_comes_after_an_unknown_one_is_named():
    @step(after="lod")
    def report(): ...

    def training():
        load()
        report()

    assert mistake(training) == (
        "pipeline 'training', step 'report': after='lod' is no step of this pipeline; "
        "did you mean 'load'?"
    )


def test_steps_that_wait_for_each_other_are_named():
    @step(after="second")
    def first(): ...

    @step(after="first")
    def second(): ...

    def circle():
        first()
        second()

    text = mistake(circle)
    assert text.startswith("pipeline 'circle': steps wait for each other: ")
    assert "'first' waits for 'second'" in text
    assert "'second' waits for 'first'" in text


def test_step_cannot_come_after_itself():
    @step(after="alone")
    def alone(): ...

    assert "'alone' waits for 'alone'" in mistake(alone)


def test_output_has_no_truth_while_the_pipeline_is_built():
    def training():
        if evaluate({}, []):
            load()

    assert mistake(training) == (
        "the output of step 'evaluate' is not known while the pipeline is built; "
        "pass it on, and decide and compute with it inside a step"
    )


@pytest.mark.parametrize(
    "use",
    [
        lambda output: output == 0.1,
        lambda output: output in [0.1],
        lambda output: output < 1,
        lambda output: output + 1,
        lambda output: 1 + output,
        lambda output: numpy.ones(2) * output,
        numpy.mean,
        lambda output: -output,
        lambda output: f"{output}",
        lambda output: f"{output:.2f}",
        lambda output: "%s" % output,  # noqa: UP031 - people write so
        str,
        float,
        range,
        round,
        len,
        lambda output: output[0],
        lambda output: output(1),
        lambda output: {output},
        lambda output: {output: 1},
        lambda output: max(output, 1),
        math.sqrt,
        Path,
        lambda output: output.__enter__(),
    ],
)
def test_output_is_no_value_for_any_operator_while_the_pipeline_is_built(use):
    message = mistake(lambda: use(load()))

    assert "the output of step 'load' is not known while the pipeline is built" in message


def test_every_operator_of_python_is_refused_by_an_output():
    operators = {name for kind in (int, float, str, list, dict, set) for name in vars(kind)}
    kept = "new init init_subclass subclasshook getattribute doc iter repr reduce reduce_ex sizeof "
    kept += "len getnewargs getstate setattr delattr dir class getformat setformat class_getitem"
    operators -= {f"__{name}__" for name in kept.split()}

    refused = vars(Output)["__bool__"]
    names = {name for name in operators if name.startswith("__")}
    assert {name for name in names if getattr(Output, name, None) is not refused} == set()


def test_output_can_be_displayed_while_the_pipeline_is_built():
    seen = []

    graph_of(lambda: seen.append(repr(load())))

    assert seen == ["<output of step 'load', not known yet>"]


@pytest.mark.parametrize("count", [1, 3])
def test_outputs_unpacked_into_another_number_of_names_are_counted(count):
    def training():
        names = [None] * count
        if count == 1:
            [names[0]] = named()
        else:
            names[0], names[1], names[2] = named()

    message = mistake(training)

    assert message.startswith(
        "pipeline 'training': step 'named' is annotated to return 2 outputs (count, label): "
    )
    assert "values to unpack" in message


def test_error_of_the_pipeline_function_itself_is_its_own():
    def training():
        named()
        raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        pipeline(training).build()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: step(retry=1), "@step: no option 'retry'; did you mean 'retries'?"),
        (lambda: load.with_options(nme="a"), "step 'load': with_options: no option 'nme'; did"),
        (lambda: load.with_options(zebra=1), "no option 'zebra'; options are 'after', 'cac"),
        (lambda: step(name="")(len), "@step(name=''): a name must be a text that is not empty"),
        (lambda: load.with_options(name=" "), "a name must be a text that is not empty"),
        (lambda: step(name=5)(len), "@step(name=5): a name must be a text that is not empty"),
        (lambda: pipeline(name="")(len), "@pipeline(name=''): a name must be a text that is not"),
    ],
)
def test_wrong_option_is_named_with_the_way_out(make, message):
    with pytest.raises(PipelineError) as caught:
        make()
    assert message in str(caught.value)


def test_step_of_one_output_cannot_be_unpacked():
    def training():
        _first, _second = load()

    assert "step 'load' has one output; to unpack it, annotate the step" in mistake(training)


def test_outputs_of_one_name_are_refused():
    @step
    def twice() -> tuple[Annotated[int, "a"], Annotated[int, "a"]]:
        return 1, 2

    assert "step 'twice': two outputs are called 'a'; rename one" in mistake(twice)


def test_pipeline_cannot_be_called_inside_a_pipeline(project):
    inner = pipeline(name="inner")(lambda: None)

    @pipeline
    def outer():
        inner()

    with pytest.raises(PipelineError, match="'inner' was called inside a pipeline; call its steps"):
        outer()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retries": -1}, "retries must be 0 or more, not -1"),
        ({"retries": 1.5}, "retries must be 0 or more, not 1.5"),
        ({"retries": True}, "retries must be 0 or more, not True"),
        ({"settings": ["a"]}, "settings must be a dict, not ['a']"),
        ({"after": 5}, "after must name steps, not 5"),
        ({"after": [5]}, "after must name steps, not 5"),
    ],
)
def test_option_that_is_wrong_is_named(options, message):
    with pytest.raises(PipelineError) as caught:
        step(**options)(lambda: None)

    assert str(caught.value) == f"step '<lambda>': {message}"


@pytest.mark.parametrize("decorator", [step, pipeline])
def test_decorator_of_what_is_no_function_is_refused(decorator):
    with pytest.raises(PipelineError, match="goes above a function, not above 'train'"):
        decorator("train")


def test_async_step_is_refused():
    async def fetch(): ...

    with pytest.raises(PipelineError, match=r"step 'fetch' is async, .* asyncio\.run"):
        step(fetch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"experiment_tracker": "locl"}, "no experiment tracker 'locl' .* did you mean 'local'"),
        ({"experiment_tracker": 5}, "experiment_tracker: must be a name"),
        ({"settings": {"locl": {}}}, "settings: 'locl' is no experiment tracker or flavor"),
        (
            {"experiment_tracker": "local", "settings": {"local": {"lable": 1}}},
            "unknown key 'lable'; did you mean 'label'",
        ),
    ],
)
def test_tracker_that_is_wrong_is_named_before_anything_runs(project, options, message):
    project.add_tracker("local", Recorder)
    ran = []
    first = step(name="first")(lambda: ran.append(1))

    @pipeline
    def training():
        first()
        step(name="second", **options)(lambda: None)()

    with pytest.raises(ConfigError, match=f"pipeline 'training', step 'second': .*{message}"):
        training()
    assert ran == []
