"""Does what is sent fit into the request that a backend takes?"""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from recorder import Recorder

from trackyard import (
    Artifact,
    Capabilities,
    Client,
    Metric,
    Param,
    Tag,
    flavor,
    hookimpl,
    start_run,
)
from trackyard.contract import Context, Git, TooLarge
from trackyard.delivery.adapting import Adapter
from trackyard.delivery.sending import Sender
from trackyard.delivery.sizes import shortened_to, size_as_sent

MOST = 10_000


@given(st.text(max_size=60), st.integers(8, 400))
def test_shortened_text_fits(text, most):
    shown = shortened_to(text * 20, most)

    assert len(json.dumps(shown)) <= most + 2
    assert shown == text * 20 or (text * 20).startswith(shown.removesuffix("…"))


@given(st.text(max_size=200), st.text(max_size=50))
def test_each_record_fits_and_the_whole_text_is_kept(tmp_path_factory, key, text):
    one = Adapter(Capabilities(largest_request=MOST), tmp_path_factory.mktemp("sizes"))
    for record in (Param(key, text * 1000), Tag(key, text * 1000)):
        sent, *files = one.adapt(record)

        assert size_as_sent(sent) <= MOST
        assert len(json.dumps([sent.key, sent.value])) <= MOST
        assert sent.value == record.value or files[0].path.read_bytes() == record.value.encode()


PACKAGES = {f"package-{number}": "1.0" for number in range(1000)}


@pytest.mark.parametrize(
    ("context", "shown"),
    [
        (Context(user="ada", packages=PACKAGES), Context(user="ada")),
        (Context(user="ada", command=("x" * MOST, "y")), None),
        (Context(user="ada", git=Git(branch="ß" * MOST), job={"slurm.id": "5" * MOST}), None),
        (Context(user="ada", job={f"k{n}": "v" for n in range(MOST)}), Context()),
    ],
    ids=["packages", "command", "git and job", "no room for names"],
)
def test_context_fits_and_says_what_it_can(tmp_path, context, shown):
    adapter = Adapter(Capabilities(largest_request=MOST), tmp_path)
    (sent,) = adapter.adapt(context)

    assert size_as_sent(sent) <= MOST
    assert sent == shown or (shown is None and sent.user == "ada")
    assert sum(adapter.changes.values()) == 1
    assert Adapter(Capabilities(), tmp_path).adapt(context) == [context]


class _Aside:
    folder = Path("nowhere")


def batches(records, **limits):
    sender = Sender(None, None, _Aside(), 1000, **limits)
    pending = deque(enumerate(records, 1))
    while pending:
        yield sender.take_batch(pending)


def test_batches_stay_below_the_largest_request(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"x" * 4000)
    large = tmp_path / "b"
    large.write_bytes(b"x" * 40_000)
    records = [Metric("loss", 0.5, n, n) for n in range(300)]
    records += [Param(f"p{n}", "x" * 3000) for n in range(20)]
    records += [Artifact(f"f{n}", file, "file") for n in range(9)]
    records += [Artifact("large", large, "file"), Tag("last", "yes")]

    found = list(batches(records, largest_request=MOST))

    assert [record for batch in found for _, record in batch] == records
    for batch in found:
        size = sum(size_as_sent(record) for _, record in batch)
        size += sum(r.path.stat().st_size for _, r in batch if isinstance(r, Artifact))
        assert size <= MOST or len(batch) == 1
    assert len(list(batches(records))) < len(found)


@flavor
class BehindGateway(Recorder):
    """Is reached through something that lets no large request pass."""

    @hookimpl
    def tracker_log(self, run, batch):
        sizes = [artifact.path.stat().st_size for artifact in batch.artifacts]
        small = any(metric.key == "small" for metric in batch.metrics)
        if small or max(sizes, default=0) > 100_000:
            raise TooLarge("413 Request Entity Too Large")
        Recorder.tracker_log(self, run, batch)


def test_record_that_is_too_large_alone_is_refused_with_its_size(project, caplog):
    project.add_tracker("local", BehindGateway)
    with start_run() as run:
        run.log_text("x" * 200_000, "large.txt")
        run.log_metric("loss", 1)
    with start_run() as second:
        second.log_text("x" * 200_000, "large.txt")  # and nothing else

    (row, other) = [row for row in Client().sync() if row.is_lacking]
    assert (row.state, row.pending, row.quarantined) == ("refused", 0, 1)
    assert (other.state, other.pending, other.quarantined) == ("refused", 0, 1)
    assert project.logged("metrics") == [["loss", 1.0, None]]
    assert "413 Request Entity Too Large: it has 200" in caplog.text
    assert "type: trackyard sync --refused" in caplog.text


def test_small_record_that_is_said_to_be_too_large_stays_pending(project):
    project.add_tracker("local", BehindGateway)
    with start_run() as run:
        run.log_metric("small", 1)
        run.log_metric("loss", 1)

    (row,) = Client().sync()
    assert (row.pending, row.quarantined) == (1, 0)
