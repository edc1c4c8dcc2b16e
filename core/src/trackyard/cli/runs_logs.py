"""`trackyard runs logs`: what did a run print, or what does it print now?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import click

from trackyard.cli.completing import run_names
from trackyard.cli.output import json_option, remark, show_json, until_interrupted
from trackyard.client import Client
from trackyard.console.lines import ConsoleLine
from trackyard.console.reading import ConsoleReader
from trackyard.contract.errors import RunNotFoundError
from trackyard.runs.views import RunView, StepView
from trackyard.system.showing import line
from trackyard.system.suggestions import did_you_mean, listed

# Seconds between two looks for lines, and for steps that have started.
_LINES_EVERY, _STEPS_EVERY = 0.2, 1.0


@click.command()
@click.argument("run", shell_complete=run_names)
@click.option("--step", metavar="NAME", help="Only what this step printed.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("-t", "--timestamps", is_flag=True, help="When each line was printed (UTC).")
@json_option
def logs(run: str, *, step: str | None, follow: bool, timestamps: bool, as_json: bool) -> None:
    """Show what RUN printed: stdout, stderr and what was logged by `logging`.

    RUN is a name, an id or a prefix that fits one run alone; a step has an id, too. The lines of a
    pipeline's steps bear the step's name.
    """
    client = Client()
    view = client.get_run(run)
    is_one = step is not None or len(view.steps) == 1
    if step is not None:
        _check(view, step)
    count = 0
    with until_interrupted():
        for found in _followed(client, view, step) if follow else [_lines(view, step)]:
            count += len(found)
            if as_json:
                show_json([_values(*line) for line in found], on_one_line=follow)
                continue
            for name, printed in found:
                _show(None if is_one else name, printed, with_time=timestamps)
    if not count and not as_json:
        remark(f"run {view.name!r} has printed nothing that is kept")


def _check(view: RunView, step: str) -> None:
    names = [known.name for known in view.steps]
    if step not in names:
        hint = did_you_mean(step, names) or f"; it has {listed(names)}"
        raise RunNotFoundError(f"run {view.name!r} has no step {step!r}{hint}")


def _steps(view: RunView, step: str | None) -> list[StepView]:
    return [known for known in view.steps if step in (None, known.name)]


def _lines(view: RunView, step: str | None) -> list[tuple[str, ConsoleLine]]:
    of_steps = [(known.name, line) for known in _steps(view, step) for line in known.console]
    return sorted(of_steps, key=lambda pair: pair[1].moment)


def _followed(
    client: Client, view: RunView, step: str | None
) -> Iterator[list[tuple[str, ConsoleLine]]]:
    """Give the lines as they are printed, until the run has ended."""
    readers: dict[str, tuple[str, ConsoleReader]] = {}
    looked_at = time.monotonic()
    while True:
        for known in _steps(view, step):
            reader = known.console.follow()
            if reader is not None:
                readers.setdefault(known.id, (known.name, reader))
        found = _new_lines(list(readers.values()), is_last=view.status != "running")
        if found:
            yield found
        if view.status != "running":
            return
        time.sleep(_LINES_EVERY)
        if time.monotonic() - looked_at >= _STEPS_EVERY:
            view, looked_at = client.get_run(view.id), time.monotonic()


def _new_lines(
    readers: Sequence[tuple[str, ConsoleReader]], *, is_last: bool
) -> list[tuple[str, ConsoleLine]]:
    found = [
        (name, line) for name, reader in readers for line in reader.read(with_unfinished=is_last)
    ]
    return sorted(found, key=lambda pair: pair[1].moment)


def _values(step: str, printed: ConsoleLine) -> dict[str, str]:
    return {
        "step": step,
        "time": printed.moment,
        "stream": printed.stream,
        "text": printed.text,
    }


def _show(step: str | None, printed: ConsoleLine, *, with_time: bool) -> None:
    moment = f"{printed.moment} " if with_time else ""
    name = f"{line(step)} | " if step is not None else ""
    text = printed.text if printed.stream != "note" else f"({printed.text})"
    click.echo(f"{moment}{name}{text}")
