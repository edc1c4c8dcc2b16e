"""Fill the project of the working directory with what a page has to show."""

import math
from contextlib import suppress

from trackyard import log_metric, log_params, log_text, pipeline, start_run, step

HOSTILE = "<script>document.title='stolen'</script>"
PICTURE = (
    "<svg xmlns='http://www.w3.org/2000/svg' width='90' height='40'>"
    "<script>document.title='stolen'; fetch('/stolen')</script>"
    "<image href='http://evil.example/stolen.png'/><rect width='90' height='40' fill='teal'/></svg>"
)
PAGE = "<b>report</b><script>document.title='stolen'; fetch('/stolen')</script><img src='/stolen'>"


@step
def load() -> list[float]:
    print("reading rows")
    return [n / 10 for n in range(12)]


@step
def square(number: float) -> float:
    return number * number


@step
def train(numbers: list[float], rate: float) -> float:
    log_params({"rate": rate, "optimizer": "adam"})
    for epoch in range(60):
        log_metric("train/loss", math.exp(-epoch * rate), step=epoch)
    log_text("all is well", "report.txt")
    return sum(numbers)


@step
def explode(number: float) -> float:
    raise ValueError(f"no good: {number}")


@step
def report(number: float) -> None:
    pass


@pipeline
def training(rate: float = 0.1):
    train(square.map(load()), rate)


@pipeline
def failing():
    report(explode(train(load(), 0.2)))


def main() -> None:
    training(rate=0.05)
    with suppress(ValueError):
        failing()
    for index, name in enumerate(("baseline", "wider", HOSTILE)):
        with start_run(name, experiment="fraud", experiment_tracker=None) as run:
            run.log_params({"rate": 0.01 * (index + 1), "optimizer": "adam"})
            run.set_tag("stage", "prod")
            if name == HOSTILE:
                run.log_params({f"{HOSTILE}'\"": HOSTILE})
                run.set_tag("reviewed", HOSTILE)
            for number in range(3000):
                value = 1.5 if number == 1234 else math.exp(-number / (300 + 200 * index))
                run.log_metric("loss", value, step=number)
            run.log_metric("odd", float("nan"), step=0)
            run.log_metric("odd", 3.0, step=1)
            for number in range(2):
                run.log_text(PICTURE, "pictures/a b.svg", step=number)
            run.log_text(PAGE, "page.html")
            run.log_table({"word": ["a", HOSTILE], "count": [1, 2]}, "words.json")
            print(HOSTILE)
    with (
        start_run("search", experiment="fraud", experiment_tracker=None),
        start_run("trial", nested=True) as trial,
    ):
        trial.log_metric("loss", 0.5)


if __name__ == "__main__":
    main()
