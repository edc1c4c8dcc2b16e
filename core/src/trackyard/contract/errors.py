"""Which errors can Trackyard raise, and what may a flavor raise to say what went wrong?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trackyard.contract.records import Record


class TrackyardError(Exception):
    """Base of all errors that a user can put right; the command line shows its text alone."""


class NewerFormatError(TrackyardError):
    """A newer Trackyard wrote something here, in a format that this one does not know."""


class ConfigError(TrackyardError):
    """The configuration is wrong: the message names the file, the key path and the way out."""


class PluginError(TrackyardError):
    """A plugin is missing, blocked, broken, or breaks a rule of the contract."""


class PipelineError(TrackyardError):
    """A pipeline cannot run as it is written; nothing of it was run."""


class StepError(TrackyardError):
    """What a step raised in another process, where the exception itself cannot travel."""


class StepCrashedError(TrackyardError):
    """The process or machine that ran a step has died.

    Args:
        message: What is known of it.
        lost: About how many log calls are gone with it.
    """

    def __init__(self, message: str, lost: int = 0) -> None:
        super().__init__(message)
        self.lost = lost


class OutputError(TrackyardError):
    """A step's output could not be stored or loaded."""


class RunNotFoundError(TrackyardError):
    """No stored run answers to the given name, id or prefix."""


class OutputNotFoundError(TrackyardError):
    """No step has returned an output of the given name and version."""


class ArtifactNotFoundError(TrackyardError, KeyError):
    """No file was logged under the given name, or its content is nowhere to be had."""

    def __str__(self) -> str:  # a `KeyError` would show the text in quotes
        return str(self.args[0]) if self.args else ""


class NoActiveRunError(TrackyardError):
    """A portable call was made outside any run."""


class RunEndedError(NoActiveRunError):
    """The run of another process, which this one was to add to, has ended."""


class RequiredTrackerError(TrackyardError):
    """A tracker with `required = true` could not be started or could not take everything."""


class RetryLater(Exception):
    """Raised by a hook: the backend cannot take this now, send it again later.

    Args:
        message: What the backend said.
        after: Seconds to wait at least, such as a `Retry-After` header; None leaves it to core.
    """

    def __init__(self, message: str = "", *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class CredentialRefused(RetryLater):
    """Raised by a hook: the backend knows the credential, and does not let it in.

    An outage for a person to mend: nothing is thrown away, and everything is sent then.
    """


class RunDeleted(Exception):
    """Raised by a hook: somebody has deleted the run, or its experiment, in the backend.

    It is said once. Nothing is thrown away: a `trackyard sync` that is typed tries again, and a
    run that was restored gets everything.
    """


class TooLarge(Exception):
    """Raised by `tracker_log`: the request is larger than something on the way lets through.

    Core halves the batch. One record alone of more than 64 KiB is refused with its size, unless a
    larger one has passed; a smaller one stays pending. Neither holds up others.
    """


class RejectedRecords(Exception):
    """Raised by `tracker_log`: the backend will never take these records of the batch.

    They are quarantined, and the rest of the batch is sent again without them. Hooks that forward
    what an SDK keeps in files raise it when all the rest is done: these are counted, too.

    Args:
        records: The records, as they stood in the batch.
        message: What the backend said.
    """

    def __init__(self, records: Iterable[Record], message: str = "") -> None:
        super().__init__(message)
        self.records = tuple(records)


def refuse_newer(place: object, found: int, known: int) -> None:
    """Refuse what bears a higher number than this Trackyard knows; it is left as it is.

    Whatever lies on disk bears a number, and who changes its format raises it: an older version
    says then that it is too old, where it would else misread it or see nothing.

    Args:
        place: The file, or what else names it.
        found: The number that it bears.
        known: The highest that is known.

    Raises:
        NewerFormatError: It does.
    """
    if found > known:
        raise NewerFormatError(
            f"{place}: was written by a newer Trackyard (format {found}, and {known} is the newest "
            f"known); type: pip install --upgrade trackyard"
        )


def without_statement(text: str) -> str:
    """Cut an error of a database down to its cause.

    SQLAlchemy writes the whole statement behind it, its parameters, and an address of its manual.
    """
    return text.partition("[SQL: ")[0].partition("(Background on this error at: ")[0].strip()
