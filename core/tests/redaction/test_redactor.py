"""Are secrets kept out of what is written down?"""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import pytest
from canary import CANARY
from recorder import Recorder

from trackyard import start_run
from trackyard.redaction.redactor import Redactor

SECRET = CANARY
SHAPE = "AKIA" + "IOSFODNN7EXAMPLE"


def raised(error):
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"token {SECRET}, again {SECRET}", "token ***, again ***"),
        ("https://ann:pass@host/path", "https://***@host/path"),
        ("https://token@host", "https://***@host"),
        ("postgresql+psycopg://ann:p%40ss@host/db", "postgresql+psycopg://***@host/db"),
        ("https://ann:p@ss@host/path", "https://***@host/path"),
        ("see https://host/a@b and ann@host", "see https://host/a@b and ann@host"),
        ("nothing", "nothing"),
        ("", ""),
    ],
)
def test_secrets_and_credentials_are_replaced(text, redacted):
    assert Redactor([SECRET]).redact(text) == redacted


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("/etc/passwd: cannot be run: Permission denied",) * 2,
        ("cat: /run/secrets/db_password: No such file or directory",) * 2,
        ("/etc/passwd: hunter2", "/etc/passwd: ***"),
        ("passwd: hunter2", "passwd: ***"),
        ("passwd: cannot be run", "passwd: *** be run"),
        ("/a/password=cannot", "/a/password=***"),
        ("/a/password: cannot-be-guessed", "/a/password: ***"),
        ("train.py --password hunter22 --rate 0.1", "train.py --password *** --rate 0.1"),
        ("['train.py', '--api-key', 'hunter22']", "['train.py', '--api-key', '***']"),
        ('["--db-password", "hunter22", "x"]', '["--db-password", "***", "x"]'),
        ("--num-tokens 10000 --pad-token <pad>", "--num-tokens 10000 --pad-token <pad>"),
        ("--use-secret --verbose", "--use-secret --verbose"),
    ],
)
def test_what_follows_an_option_that_says_secret(text, redacted):
    assert Redactor().redact(text) == redacted


def test_what_follows_an_option_in_a_list_of_arguments():
    arguments = ["train.py", "--api-key", "hunter22", "--rate", "0.1"]

    assert Redactor().redact_nested(arguments) == ["train.py", "--api-key", "***", "--rate", "0.1"]


@pytest.mark.parametrize(
    "text", ["x", "x:", "://", "a://b", "a@", "://x@", "/", "-", "--key ", "--a"], ids=ascii
)
def test_long_text_is_redacted_in_no_time(text):
    begun = time.thread_time()
    Redactor([SECRET]).redact(text * 300_000)

    assert time.thread_time() - begun < 5


def test_longer_secret_that_holds_a_shorter_one_is_replaced_whole():
    assert Redactor(["password", "password-of-ann"]).redact("password-of-ann") == "***"


def test_secret_that_is_too_short_to_be_one_is_left():
    assert Redactor(["a", ""]).redact("a cat") == "a cat"


def test_failure_tells_kind_message_and_traceback_without_secrets():
    error = raised(ValueError(f"cannot use {SECRET}"))
    failure = Redactor([SECRET]).failure(error)

    assert (failure.status, failure.kind, failure.message) == (
        "failed",
        "ValueError",
        "cannot use ***",
    )
    assert "ValueError: cannot use ***" in failure.traceback
    assert "in raised" in failure.traceback
    assert SECRET not in failure.traceback


def test_failure_tells_its_cause_without_secrets():
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as cause:
            raise ValueError("a") from cause
    except ValueError as error:
        failure = Redactor([SECRET]).failure(error, "killed")

    assert failure.status == "killed"
    assert "KeyError: '***'" in failure.traceback


def test_failure_holds_no_values_of_variables():
    def train(password):
        raise ValueError("odd")

    with pytest.raises(ValueError) as caught:
        train("pass" + "word-of-bob")

    assert "password-of-bob" not in Redactor().failure(caught.value).traceback


class Silent(Exception):
    def __str__(self):
        raise RuntimeError


class Misleading(SyntaxError):
    """Its traceback cannot be written."""

    def __init__(self):
        super().__init__("odd")
        self.lineno = self.offset = self.end_offset = self.text = object()


@pytest.mark.parametrize("error", [Silent(), Misleading()])
def test_error_that_cannot_be_shown_is_a_failure_all_the_same(error):
    failure = Redactor().failure(raised(error))

    assert failure.kind == type(error).__name__
    assert "in raised" in failure.traceback


def test_group_of_errors_is_one_failure():
    failure = Redactor([SECRET]).failure(raised(ExceptionGroup("two", [ValueError(SECRET)])))

    assert failure.kind == "ExceptionGroup"
    assert SECRET not in failure.traceback


# What users log


@pytest.fixture
def log(project):
    """Give a function that makes one call in a run and gives all that was written of the run."""
    project.add_tracker("local", Recorder)

    def log(call, *arguments, **keywords):
        with start_run() as run:
            getattr(run, call)(*arguments, **keywords)
        (folder,) = (project.root / ".trackyard" / "runs").iterdir()
        files = (path for path in folder.rglob("*") if path.is_file())
        return b"\n".join(path.read_bytes() for path in files).decode()

    return log


NESTED = {
    "db": {"user": "ann", "password": "hunter two"},
    "keys": [{"api_key": "abc 123"}, ("a", {"authToken": "def 456"})],
    "credentials": {"user": "bob", "list": ["ghi 789"]},
    "max_tokens": 4096,
    "pad_token": "[PAD]",
    "note": "use AKIA" + "IOSFODNN7EXAMPLE",
}


@pytest.mark.parametrize("call", ["log_dict", "log_param", "log_params", "set_tag", "log_text"])
def test_secrets_deep_inside_of_what_is_logged_are_replaced(log, call):
    arguments = {
        "log_dict": (NESTED, "a.json"),
        "log_params": ({"config": NESTED},),
        "log_text": (repr(NESTED).replace("credentials", "x_password"), "a.txt"),
    }.get(call, ("config", NESTED))
    written = log(call, *arguments)

    assert "[PAD]" in written
    assert "4096" in written
    assert "ann" in written
    for secret in ("hunter", "abc 123", "def 456", "AKIA"):
        assert secret not in written
    if call != "log_text":
        assert "ghi 789" not in written


def test_a_param_or_tag_whose_name_says_secret_hides_its_value_and_says_so(log, caplog):
    written = log("log_params", {"api_key": "abc 123", "num_tokens": "many", "token": 5})

    assert "abc 123" not in written
    assert '"num_tokens":"many"' in written
    assert '"token":5' in written
    assert "'api_key' looks like a secret: its value is not kept" in caplog.text


def test_a_column_of_a_table_whose_name_says_secret(log):
    written = log("log_table", {"password": ["hunter", "two"], "rows": ["a", "b"]}, "a.json")

    assert "hunter" not in written
    assert '[["***", "a"], ["***", "b"]]' in written


def test_keys_and_numbers_of_metrics(log):
    written = log("log_metrics", {f"loss of {SHAPE}": 0.5, "num_tokens": 7, "password": 12})

    assert SHAPE not in written
    assert '"loss of ***":0.5' in written
    assert '"password":12.0' in written


def test_what_contains_itself_or_is_very_deep(log):
    value: dict = {"password": "hunter"}
    value["itself"] = value
    deep: list = ["hunter"]
    for _ in range(10_000):
        deep = [deep]
    written = log("log_dict", {"value": value, "deep": deep}, "a.json")

    assert "<cycle>" in written
    assert "<too deep>" in written
    assert "hunter" not in written


def test_files_are_kept_as_they_are(log, tmp_path):
    (tmp_path / "model.txt").write_text("password=hunter")

    assert "password=hunter" in log("log_artifact", tmp_path / "model.txt")


@pytest.mark.parametrize("form", ["plain", "in a URL", "in JSON", "in a header"])
def test_a_known_secret_is_found_in_each_of_its_forms(form):
    secret = 'a "secret"/of+ann'
    shown = {
        "plain": secret,
        "in a URL": quote(secret, safe=""),
        "in JSON": json.dumps(secret)[1:-1],
        "in a header": base64.b64encode(secret.encode()).decode(),
    }[form]

    assert shown.rstrip("=") not in Redactor([secret]).redact(f"value {shown} end")
