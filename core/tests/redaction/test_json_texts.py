"""Are secrets kept out of a JSON text, as they are out of the value that it says?"""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies

from trackyard.redaction.redactor import Redactor

SECRETS = ['super"secret\\x', "12345678", "plainsecretvalue"]
PIECES = [
    *SECRETS, "AKIA" + "IOSFODNN7EXAMPLE", "https://ann:pass@host/?token=abcd", "--password",
    "password: hunter22", "Bearer abcdefg123456", "token", "tokens", "\n", '"', "\\",
    "é", ", ", "[",
    "-----BEGIN RSA PRIVATE KEY-----\nabc",
]  # fmt: skip
texts = strategies.lists(strategies.sampled_from(PIECES), max_size=3).map("".join)
keys = texts | strategies.sampled_from(["password", "api_key", "a"])
values = strategies.recursive(
    texts | strategies.sampled_from([None, True, 12345678, 2.5]),
    lambda inner: (
        strategies.lists(inner, max_size=4) | strategies.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("secrets", [[], SECRETS])
@given(value=values, indent=strategies.sampled_from([None, 2]))
def test_text_says_what_the_redacted_value_is(secrets, value, indent):
    redactor = Redactor(secrets)
    text = json.dumps(value, ensure_ascii=False, indent=indent)

    assert json.loads(redactor.redact_json(text)) == redactor.redact_nested(value)


@given(pairs=strategies.dictionaries(keys, texts | strategies.none()))
def test_many_pairs_are_redacted_as_each_is(pairs):
    redactor = Redactor(SECRETS)

    assert redactor.redact_pairs(pairs) == [redactor.redact_pair(*pair) for pair in pairs.items()]
