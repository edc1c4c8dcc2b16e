"""Does a backend hold what was logged, as it was logged, up to its declared limits?"""

from __future__ import annotations

import gzip
import math
import re
import time
from pathlib import Path
from typing import get_args

import pytest

from trackyard.contract.records import ArtifactKind, Batch, Metric
from trackyard.delivery.adapting import original_key
from trackyard.journal.entries import Entry
from trackyard.runs.differences import same_number
from trackyard.testing.contract import check, expect
from trackyard.testing.kinds import log_kind
from trackyard.testing.requirements import can_be_read, declares, keeps_times, limits
from trackyard.testing.stored import StoredRun
from trackyard.testing.workbench import Logging, Workbench, append
from trackyard.tracking.calls import ActiveRun

_HOUR = 3_600 * 10**9
_SECOND = 10**9
MANY = 10_000
ODD_KEYS = [
    "a b",
    "tab\t",
    "line\nbreak",
    "nul\0",
    "/first",
    "last/",
    "a//b",
    "../up",
    ".",
    "",
    "per%cent",
    "a#b?c",
    "quote\"'`",
    "_u41_",
    "ключ",
    "🎉",
    "k" * 300,
    # Keys that become one in tables without capitals, in normalized texts and in trees.
    "loss",
    "Loss",
    "LOSS",
    "loss/train",
    "loss.train",
    "loss_train",
    "loss ",
    "caf\N{LATIN SMALL LETTER E WITH ACUTE}",
    "cafe\N{COMBINING ACUTE ACCENT}",
]


class DataChecks:
    """Metrics, params, tags and artifacts, one kind after the other."""

    @check("What tracker_log returned from, the backend holds: metrics.", can_be_read)
    def test_metrics_are_kept(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            for step in range(25):
                run.log_metrics({"loss": 1 / (step + 1), "train/accuracy": step / 25}, step=step)
            run.log_metric("without_step", -3.5)

        _compare(workbench, log)

    @check("What tracker_log returned from, the backend holds: the very last batch.", can_be_read)
    def test_last_records_are_kept(self, workbench: Workbench) -> None:
        with workbench.track() as run:
            run.log_metric("loss", 1, step=0)
            time.sleep(0.3)  # the first batch is sent; what follows is in the run's last one
            run.log_metric("loss", 2, step=1)
            run.set_tag("last", "yes")
        found = workbench.difference(run.id)
        expect(not found, f"of what was logged right before the end, {found}")

    @check("Values are kept as they are: small, large and negative numbers.", can_be_read)
    def test_extreme_numbers_are_kept(self, workbench: Workbench) -> None:
        numbers = {"small": 1e-30, "large": 1e30, "negative": -273.15, "zero": 0.0, "one": 1.0}
        _compare(workbench, lambda run: run.log_metrics(numbers, step=1))

    @check(
        "NaN rule keep: NaN and infinities are values.",
        declares("not_a_number", "keep"),
        can_be_read,
    )
    def test_not_a_number_is_kept(self, workbench: Workbench) -> None:
        odd = {"nan": math.nan, "up": math.inf, "down": -math.inf}
        run_id = workbench.log(lambda run: run.log_metrics(odd, step=1))
        stored = workbench.read(run_id)
        for key, value in odd.items():
            values = stored.values(key)
            is_kept = len(values) == 1 and same_number(value, values[0])
            expect(is_kept, f"of {value}, the backend has {values}")

    @check(
        "NaN rule drop: what the backend cannot hold is left out, and nothing else with it.",
        declares("not_a_number", "drop"),
        can_be_read,
    )
    def test_not_a_number_takes_nothing_with_it(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            for step, value in enumerate((0.5, math.nan, math.inf, -math.inf, 2.5)):
                run.log_metrics({"odd": value, "fine": step / 2}, step=step)
            run.log_metric("never", math.nan)

        _compare(workbench, log)

    @check("Metrics keep their steps, in the order of logging.", can_be_read)
    def test_steps_keep_their_order(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            for step in (0, 1, 2, 10, 100, 10**6):
                run.log_metric("loss", step / 7, step=step)

        stored = workbench.read(workbench.log(log))
        expect(stored.steps("loss") == [0, 1, 2, 10, 100, 10**6], f"steps {stored.steps('loss')}")

    @check("Out of order is safe: a step that goes backwards loses no value.", can_be_read)
    def test_steps_may_go_backwards(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            for step in (5, 3, 9, 0):
                run.log_metric("loss", step, step=step)

        run_id = workbench.log(log)
        values = sorted(workbench.read(run_id).values("loss"))
        expect(values == [0.0, 3.0, 5.0, 9.0], f"of 5, 3, 9, 0 the backend has {values}")
        found = workbench.difference(run_id)
        expect(not found, f"of steps 5, 3, 9, 0, {found}")

    @check("Metrics of one moment and several steps share no row by accident.", can_be_read)
    def test_keys_with_steps_of_their_own_are_kept(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            for step in range(10):
                run.log_metric("a", step, step=step)
                run.log_metric("b", -step, step=step)

        _compare(workbench, log)

    @check(
        "Original timestamps are kept, however late a record is delivered.",
        can_be_read,
        keeps_times,
    )
    def test_timestamps_are_kept(self, workbench: Workbench) -> None:
        begun = time.time_ns() - _HOUR

        def log(run: ActiveRun) -> None:
            for step in range(5):
                moment = begun + step * 60 * _SECOND
                append(run, Entry("metrics", moment, step, {"loss": step / 2}))

        stored = workbench.read(workbench.log(log))
        for step, metric in enumerate(stored.metrics.get("loss", [])):
            late = (metric.timestamp - begun - step * 60 * _SECOND) / _SECOND
            expect(abs(late) < 1.5, f"the time of step {step} is off by {late:.1f} s")

    @check("10,000 metrics arrive, each once.", can_be_read)
    def test_ten_thousand_metrics_arrive_each_once(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            for step in range(MANY):
                run.log_metric("loss", step, step=step)

        stored = workbench.read(workbench.log(log))
        steps = stored.steps("loss")
        expect(len(steps) == MANY, f"of {MANY} metrics the backend has {len(steps)}")
        expect(sorted(map(int, stored.values("loss"))) == list(range(MANY)), "other values")

    @check("largest_batch: most records that one tracker_log call may get.", can_be_read)
    def test_largest_batch_is_taken_whole(self, workbench: Workbench) -> None:
        run, hooks = workbench.new_run(), workbench.tracker_hooks()
        many = [Metric(f"m{n % 10}", float(n), n // 10, 10**18 + n) for n in range(MANY)]
        metrics = tuple(workbench.one_call(workbench.fitted(many)))
        size = len(metrics)
        outcomes = [
            hooks.start_run(run),
            hooks.log(run, Batch.of(metrics, 1, size)),
            hooks.end_run(run),
        ]
        problems = [outcome.reason for outcome in outcomes if outcome.kind != "done"]
        expect(not problems, f"a batch of {size} records: {problems}")
        there = sum(map(len, workbench.read_now(run).metrics.values()))
        expect(there == size, f"of a batch of {size} records the backend has {there}")

    @check("Params of every type are kept.", can_be_read)
    def test_params_are_kept(self, workbench: Workbench) -> None:
        params = {"rate": 0.1, "depth": 3, "name": "base", "on": True, "none": None, "empty": ""}
        _compare(workbench, lambda run: run.log_params(params))

    @check("A param that is logged again with its own value stays as it is.", can_be_read)
    def test_param_may_be_logged_again(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            run.log_param("rate", 0.1)
            run.log_param("rate", 0.1)
            run.log_param("depth", 3)

        _compare(workbench, log)

    @check("Tag: one label of the run; the last value of a key counts.", can_be_read)
    def test_last_value_of_a_tag_counts(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            run.set_tags({"stage": "dev", "owner": "kim"})
            run.set_tag("stage", "prod")

        _compare(workbench, log)

    @check("Text of any script is kept: keys, params, tags.", can_be_read)
    def test_unicode_is_kept(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            run.log_metric("größe", 1, step=1)
            run.log_params({"größe": "sträße 数 🎉", "lines": "one\ntwo\ttabs"})
            run.set_tag("größe", "数 🎉 \N{ZERO WIDTH JOINER}")

        _compare(workbench, log)

    @check("Keys may hold slashes, newlines and anything else: each has its own.", can_be_read)
    def test_odd_keys_stay_apart(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            for number, key in enumerate(ODD_KEYS):
                run.log_metric(key, number, step=1)
                run.log_param(key, f"p{number}")

        _compare(workbench, log)

    @check("A metric, a param, a tag and an artifact of one name are four things.", can_be_read)
    def test_kinds_of_one_name_stay_apart(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            run.log_param("stage", "of the param")
            run.set_tag("stage", "of the tag")
            run.log_metric("stage", 0.5, step=1)
            run.log_text("of the artifact", "stage")

        _compare(workbench, log)

    @check("key_pattern: a whole key that matches it is taken as it is.", can_be_read)
    def test_keys_that_the_pattern_allows_are_taken(self, workbench: Workbench) -> None:
        allowed = re.compile(workbench.capabilities.key_pattern)
        keys = [k for k in [*ODD_KEYS, "a.b-c_d", "a/b", "UPPER", "7"] if allowed.fullmatch(k)]
        keys = [key for key in keys if original_key(key) == key and len(key) < 300]
        run_id = workbench.log(lambda run: run.log_metrics(dict.fromkeys(keys, 1.0), step=1))
        stored = workbench.read(run_id)
        lost = [key for key in keys if key not in stored.metrics]
        expect(not lost, f"the backend has no metrics {lost[:5]}, which key_pattern allows")

    @check("key_length: a key of that length is kept, a longer one too.", limits("key_length"))
    @pytest.mark.parametrize("beyond", [0, 1], ids=["at the limit", "one past it"])
    def test_longest_key_is_kept(self, workbench: Workbench, beyond: int) -> None:
        length = (workbench.capabilities.key_length or 0) + beyond
        self._log_long(workbench, lambda run: run.log_metric("k" * length, 1, step=1))

    @check("param_length: a value of that length is kept whole.", limits("param_length"))
    @pytest.mark.parametrize("beyond", [0, 1], ids=["at the limit", "one past it"])
    def test_longest_param_is_kept(self, workbench: Workbench, beyond: int) -> None:
        length = (workbench.capabilities.param_length or 0) + beyond
        self._log_long(workbench, lambda run: run.log_param("prompt", "p" * length))

    @check("tag_length: a value of that length is kept whole.", limits("tag_length"))
    @pytest.mark.parametrize("beyond", [0, 1], ids=["at the limit", "one past it"])
    def test_longest_tag_is_kept(self, workbench: Workbench, beyond: int) -> None:
        length = (workbench.capabilities.tag_length or 0) + beyond
        self._log_long(workbench, lambda run: run.set_tag("note", "t" * length))

    @check("Without a declared limit, a long value is kept whole.", can_be_read)
    def test_long_values_are_not_cut(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            run.log_param("prompt", "p" * 20_000)
            run.set_tag("note", "t" * 20_000)

        _compare(workbench, log)

    @check("Artifacts of every kind arrive whole, under their names.", can_be_read)
    @pytest.mark.parametrize("kind", get_args(ArtifactKind))
    def test_artifacts_are_kept(
        self, workbench: Workbench, kind: ArtifactKind, tmp_path: Path
    ) -> None:
        run_id = workbench.log(lambda run: log_kind(run, kind, tmp_path))
        found = workbench.difference(run_id)
        expect(not found, found)
        refused = workbench.refused(run_id)
        expect(not refused, f"the tracker refused {refused} of them")

    @check("An artifact's name makes folders, and holds any character.", can_be_read)
    def test_artifacts_keep_their_names(self, workbench: Workbench) -> None:
        names = ["deep/er/notes.txt", "with space.txt", "with_space.txt", "ü#100%.txt"]
        names += ["same.txt", "other/same.txt", "same.md", "same", "same.txt.bak"]
        (workbench.root / "Capitals").touch()
        if not (workbench.root / "capitals").exists():  # this machine's disk tells them apart
            names.append("Same.txt")

        def log(run: ActiveRun) -> None:
            for name in names:
                run.log_text(f"this is {name}", name)

        _compare(workbench, log)

    @check("Bytes are kept: an artifact is not read as text.", can_be_read)
    def test_bytes_are_kept(self, workbench: Workbench, tmp_path: Path) -> None:
        contents = {
            "models/weights.bin": bytes(range(256)) * 40,
            "large.bin": bytes(range(256)) * 5000 + b"its end",  # more than SDKs read at once
            "marked.csv": b"\xef\xbb\xbfa,b\r\n",
            "packed.gz": gzip.compress(b"what is packed stays packed", mtime=0),
        }

        def log(run: ActiveRun) -> None:
            for number, (name, content) in enumerate(contents.items()):
                file = tmp_path / f"file-{number}"
                file.write_bytes(content)
                run.log_artifact(file, name)

        _compare(workbench, log)

    @check("Nothing blocks the records behind a record that is refused.", can_be_read)
    def test_conflict_blocks_nothing_behind_it(self, workbench: Workbench) -> None:
        def log(run: ActiveRun) -> None:
            run.log_param("rate", 1)
            run.log_params({"rate": 2, "other": 3})
            run.log_metric("after", 1, step=1)

        stored = workbench.read(workbench.log(log))
        expect("other" in stored.params, "a param beside one with a second value is missing")
        expect(stored.values("after") == [1.0], f"a later metric is {stored.values('after')}")
        expect(stored.status == "finished", f"the status is {stored.status!r}")

    @staticmethod
    def _log_long(workbench: Workbench, log: Logging) -> None:
        if not workbench.can_read:
            pytest.skip("runs cannot be read back")
        _compare(workbench, log)


def _compare(workbench: Workbench, log: Logging) -> StoredRun:
    """Log something, and break the check where the backend holds anything else."""
    run_id = workbench.log(log)
    found = workbench.difference(run_id)
    expect(not found, found)
    return workbench.read(run_id)
