"""Are secrets kept out of what is written down?"""

from __future__ import annotations

import time

import pytest

from trackyard.redaction import Redactor

SECRET = "s3cret-value-of-ann"


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


@pytest.mark.parametrize("text", ["x", "x:", "://", "a://b", "a@", "://x@", "/"], ids=ascii)
def test_long_text_is_redacted_in_no_time(text):
    begun = time.monotonic()
    Redactor([SECRET]).redact(text * 300_000)

    assert time.monotonic() - begun < 5


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
