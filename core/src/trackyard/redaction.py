"""How are secrets kept out of what is written down?"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from typing import Literal

from trackyard.records import Failure, ParamValue

# It looks for "://" first: a pattern that begins with the scheme takes hours for a long word.
_URL_CREDENTIALS = re.compile(r"(?<=://)[^\s/?#'\"]+@")


class Redactor:
    """Removes the values of secrets, and user names and passwords in URLs, from texts.

    Args:
        secrets: Values of secrets; those under 8 characters are no use as a search text.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = sorted({s for s in secrets if len(s) >= 8}, key=len, reverse=True)

    @classmethod
    def joined(cls, redactors: Iterable[Redactor]) -> Redactor:
        """Make one that knows what all of these know."""
        return cls(secret for redactor in redactors for secret in redactor.secrets)

    def redact_value(self, value: ParamValue) -> ParamValue:
        """Redact a param or tag where it is a text."""
        return self.redact(value) if isinstance(value, str) else value

    def redact(self, text: str) -> str:
        """Give the text with `***` in place of each secret."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return _URL_CREDENTIALS.sub("***@", text)

    def failure(
        self, error: BaseException, status: Literal["failed", "killed", "crashed"] = "failed"
    ) -> Failure:
        """Describe an exception; frames and messages, never the values of variables."""
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
