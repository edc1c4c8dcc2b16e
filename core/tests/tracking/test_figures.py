"""Do figures of the libraries themselves become pictures and pages?"""

from __future__ import annotations

import pandas
import pytest
from matrices import first_by_default

from trackyard import Client, start_run

TABLE = pandas.DataFrame({"x": [1, 2, 3], "y": [1, 4, 9]})


def of_plotly():
    import plotly.graph_objects

    return plotly.graph_objects.Figure(plotly.graph_objects.Scatter(x=[1, 2], y=[3, 4]))


def of_altair():
    import altair

    return altair.Chart(TABLE).mark_line().encode(x="x", y="y")


def of_bokeh():
    import bokeh.plotting

    figure = bokeh.plotting.figure()
    figure.line([1, 2], [3, 4])
    return figure


def grid_of_seaborn():
    import seaborn

    return seaborn.relplot(TABLE, x="x", y="y")


def axes_of_seaborn():
    import seaborn

    return seaborn.lineplot(TABLE, x="x", y="y")


def objects_of_seaborn():
    import seaborn.objects

    return seaborn.objects.Plot(TABLE, x="x", y="y").add(seaborn.objects.Line())


PAGES = {"plotly": of_plotly, "altair": of_altair, "bokeh": of_bokeh}
PICTURES = [grid_of_seaborn, axes_of_seaborn, objects_of_seaborn]


@pytest.fixture
def log(tmp_path, monkeypatch, caplog):
    """Log a figure, and give the files and warnings."""
    monkeypatch.setenv("TRACKYARD_HOME", str(tmp_path / ".trackyard"))
    monkeypatch.setenv("MPLBACKEND", "Agg")

    def log(figure, *names):
        with start_run("run", experiment_tracker=None) as run:
            for name in names:
                run.log_figure(figure, name)
        return Client().get_run(run.id).artifacts, [r.getMessage() for r in caplog.records]

    return log


@pytest.mark.parametrize("library", first_by_default([*PAGES]))
def test_figure_without_a_picture_is_a_page(log, library):
    files, warnings = log(PAGES[library](), "a", "b.html", "roc_lr0.01")

    assert [(f.name, f.kind, f.media_type) for f in files.values()] == [
        (name, "html", "text/html") for name in ("a.html", "b.html", "roc_lr0.01.html")
    ]
    assert "<html" in files["a.html"].read_text()[:100].lower()
    assert warnings == []


@pytest.mark.parametrize("library", first_by_default([*PAGES]))
def test_page_that_was_named_as_a_picture_is_named(log, library):
    files, warnings = log(PAGES[library](), "curve.png")

    assert list(files) == ["curve.html"]
    reason = f"a figure of {library} is kept as a page; name it curve.html"
    assert warnings == [f"artifact 'curve.html': {reason}"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # seaborn calls pandas as it was
@pytest.mark.parametrize("make", PICTURES)
def test_figure_of_seaborn_is_a_picture(log, make):
    files, warnings = log(make(), "a", "b.svg")

    assert files["a.png"].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in files["b.svg"].read_text()
    assert {file.kind for file in files.values()} == {"figure"}
    assert warnings == []
