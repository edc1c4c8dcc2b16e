"""How are secrets kept out of what is written down?"""

from __future__ import annotations

import json
import re
import traceback
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any, Literal
from urllib.parse import quote

from trackyard.contract.records import Failure, ParamValue
from trackyard.redaction.json_texts import redacted_json
from trackyard.redaction.secret_shapes import (
    SUSPECTS,
    is_secret_name,
    suspects,
    without_secrets,
)

_DEEPEST = 200


class Redactor:
    """Removes from texts the values of known secrets, and what looks like one.

    Args:
        secrets: Values of secrets; those under 8 characters are no use as a search text.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = sorted({s for s in secrets if len(s) >= 8}, key=len, reverse=True)
        self._forms = [form for secret in self.secrets for form in _forms_of(secret)]
        self._has_numbers = any(_is_number_like(form) for form in self._forms)

    @classmethod
    def joined(cls, redactors: Iterable[Redactor]) -> Redactor:
        """Make one that knows what all of these know."""
        return cls(secret for redactor in redactors for secret in redactor.secrets)

    def redact(self, text: str) -> str:
        """Give the text with `***` in place of each secret."""
        for form in self._forms:
            text = text.replace(form, "***")
        return without_secrets(text)

    def redact_value(self, value: ParamValue) -> ParamValue:
        """Redact a param or tag where it is a text."""
        return self.redact(value) if isinstance(value, str) else value

    def redact_pair(self, key: str, value: ParamValue) -> tuple[str, ParamValue]:
        """Redact a param or tag and its key, which may say that the value is a secret.

        Args:
            key: Names such as `password` are those of secrets.
            value: The value.
        """
        if isinstance(value, str) and value and is_secret_name(key):
            return self.redact(key), "***"
        return self.redact(key), self.redact_value(value)

    def redact_pairs(self, pairs: Mapping[str, ParamValue]) -> list[tuple[str, ParamValue]]:
        """Redact many params or tags, each as `redact_pair` does."""
        values = [value if isinstance(value, str) else "" for value in pairs.values()]
        odd = {index % len(pairs) for index in self._suspicious([*pairs, *values])}
        return [
            self.redact_pair(*pair) if index in odd else pair
            for index, pair in enumerate(pairs.items())
        ]

    def redact_texts(self, texts: list[str]) -> list[str]:
        """Redact many texts."""
        odd = self._suspicious(texts)
        return [self.redact(text) if index in odd else text for index, text in enumerate(texts)]

    @property
    def suspicious(self) -> str:
        """A regular expression that any text matches in which there may be a secret."""
        return "|".join([SUSPECTS, *map(re.escape, self._forms)])

    def redact_columns(self, columns: list[tuple[str, list[Any]]]) -> list[tuple[str, list[Any]]]:
        """Redact the cells of columns whose names say that they hold secrets."""
        return [
            (name, self._nested(cells, is_secret=True, above=()) if is_secret_name(name) else cells)
            for name, cells in columns
        ]

    def redact_json(self, text: str) -> str:
        """Redact a JSON text as `redact_nested` does the value that it says.

        Args:
            text: What `json.dumps` has written, with `ensure_ascii=False`.
        """
        places = suspects(text)
        if self._has_numbers and any(form in text for form in self._forms):  # may be a number, too
            return json.dumps(self.redact_nested(json.loads(text)), ensure_ascii=False)
        for form in self._forms:
            if '"' not in form.replace('\\"', ""):  # as it may stand in a string
                places += [match.start() for match in re.finditer(re.escape(form), text)]
        if not places:
            return text

        def hide(value: Any) -> Any:
            return self._nested(value, is_secret=True, above=())

        return redacted_json(text, sorted(places), self.redact, is_secret_name, hide)

    def redact_nested(self, value: Any) -> Any:
        """Redact every text in dicts and lists of dicts and lists; what is none stays as it is."""
        return self._nested(value, is_secret=False, above=())

    def _suspicious(self, texts: list[str]) -> set[int]:
        """Give the numbers of the texts in which there may be a secret, or that may name one."""
        joined = "\0".join(texts)
        places = suspects(joined)
        for form in self._forms:
            if form in joined:
                places += [match.start() for match in re.finditer(re.escape(form), joined)]
        if not places:
            return set()
        ends = list(accumulate((len(text) + 1 for text in texts), initial=0))
        return {bisect_right(ends, place) - 1 for place in places}

    def _nested(self, value: Any, *, is_secret: bool, above: tuple[int, ...]) -> Any:
        kind = type(value)  # isinstance asks the value, which may raise
        if issubclass(kind, str):
            return "***" if is_secret else self.redact(str.__str__(value))
        if not issubclass(kind, Mapping | list | tuple | set | frozenset):
            return value
        if id(value) in above:
            return "<cycle>"
        if len(above) > _DEEPEST:
            return "<too deep>"
        above = (*above, id(value))
        if issubclass(kind, Mapping):
            return {
                self.redact(key) if type(key) is str else key: self._nested(
                    inner,
                    is_secret=is_secret or (type(key) is str and is_secret_name(key)),
                    above=above,
                )
                for key, inner in dict(value).items()
            }
        # What follows `--password` in a list of arguments is one.
        after_option, items = False, []
        for inner in list(value):
            items.append(self._nested(inner, is_secret=is_secret or after_option, above=above))
            after_option = type(inner) is str and inner[:2] == "--" and is_secret_name(inner)
        return items

    def failure(
        self, error: BaseException, status: Literal["failed", "killed", "crashed"] = "failed"
    ) -> Failure:
        """Describe an exception; frames and messages, never the values of variables.

        Args:
            error: What was raised.
            status: How the run ends by it.
        """
        try:
            message = str(error)
        except Exception:  # an exception whose __str__ raises
            message = "(the exception's message cannot be shown)"
        try:
            text = "".join(traceback.format_exception(error))
        except Exception:  # such as a SyntaxError with odd fields
            text = "".join(traceback.format_tb(error.__traceback__))
        return Failure(status, type(error).__name__, self.redact(message), self.redact(text))


class RedactedKeys(dict[str, str]):
    """Keys of metrics and what is written for them: each is searched for secrets once.

    Args:
        redactor: What searches them.
    """

    _MOST = 10_000  # keys that are made anew for each call must not fill the memory

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def __missing__(self, key: str) -> str:
        redacted = self._redactor.redact(key)
        if len(self) < self._MOST:
            self[key] = redacted
        return redacted


def without_credentials(url: str) -> str:
    """Remove user name and password from a URL."""
    from urllib.parse import urlsplit, urlunsplit

    try:
        parts = urlsplit(url)
    except ValueError:
        return url.rpartition("@")[2]
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _forms_of(secret: str) -> list[str]:
    """Give how a secret may stand in a text: as it is, in a URL, in JSON, in a header."""
    encoded = secret.encode("utf-8", "backslashreplace")
    forms = [secret, quote(secret, safe="", errors="replace"), json.dumps(secret)[1:-1]]
    forms.append(json.dumps(secret, ensure_ascii=False)[1:-1])
    return list(dict.fromkeys([*forms, b64encode(encoded).decode().rstrip("=")]))


def _is_number_like(text: str) -> bool:
    return not any(character.isalpha() for character in text.replace("e", "").replace("E", ""))
