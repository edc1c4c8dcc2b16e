"""How is a record fitted to what a backend can hold, and what had to be changed for it?"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import attrs

from trackyard.console.reading import MEDIA_TYPE
from trackyard.contract.context import Context
from trackyard.contract.records import (
    Artifact,
    ArtifactKind,
    Capabilities,
    Metric,
    Param,
    Record,
    Tag,
    encodable,
)
from trackyard.delivery.sizes import FRAME, fitted_context, shortened_to, size_as_sent
from trackyard.delivery.stepping import Steps
from trackyard.journal.contexts import DIFF
from trackyard.system.files import make_private_folder, write_whole

_ANY = Capabilities().artifact_pattern
_LONGEST_NAME = 255  # bytes
# Of a request, so much is a key's at most.
_KEY_SHARE = 24


class Adapter:
    """Fits records of one run to one flavor's capabilities and counts what it changed.

    Args:
        capabilities: The flavor's limits.
        folder: Where the full text of a param or tag that is too long is written.
        takes_context: The tracker gets where the run comes from.
        takes_console: It gets what the run printed.
    """

    def __init__(
        self,
        capabilities: Capabilities,
        folder: Path,
        *,
        takes_context: bool = True,
        takes_console: bool = True,
    ) -> None:
        self.changes: Counter[str] = Counter()
        self._capabilities = capabilities
        self._folder = folder
        self._key_pattern = re.compile(capabilities.key_pattern)
        self._keys: dict[str, str] = {}
        self._steps = Steps(capabilities, self.changes)
        self._key_length = _shorter(capabilities.key_length, _share(capabilities.largest_request))
        self._takes_context = takes_context
        self._context = Context()
        self._takes_console = takes_console

    def adapt(self, record: Record) -> list[Record]:
        """Give what the backend gets for a record: usually one record, none if it has no place."""
        if isinstance(record, Metric):
            return self._metric(record)
        match record:
            case Param():
                return self._param(record)
            case Tag():
                key, limit = self._key(record.key), self._capabilities.tag_length
                shown, extra = self._text(key, encodable(record.value), limit, "tags")
                return [Tag(key, shown), *extra]
            case Context():
                self._context = self._context.updated(record)
                return [self._shown_context()] if self._takes_context else []
            case Artifact() if self._is_withheld(record):
                return []
            case Artifact():
                return [self._artifact(record)]

    def _shown_context(self) -> Context:
        shown = fitted_context(self._context, self._capabilities.largest_request)
        if shown is not self._context:
            self.changes["of where the run comes from, what is long was left out"] += 1
        return shown

    def _is_withheld(self, artifact: Artifact) -> bool:
        """Tell whether it is a file of core's own that this tracker is not to get."""
        if artifact.media_type == MEDIA_TYPE:
            return not self._takes_console
        return artifact.name == DIFF and not self._takes_context

    @property
    def depends_on_earlier(self) -> bool:
        """What a record becomes depends on those before it: who goes on has to remember them."""
        return self._steps.depends_on_earlier

    def remember(self, records: Iterable[Record], *, is_native: bool = False) -> None:
        """Take note of records that the backend has already.

        Args:
            records: The records.
            is_native: A call of the tracker's own SDK has put them there, as they are.
        """
        before = self.changes.copy()
        for record in records:
            if isinstance(record, Metric) and is_native:
                self._steps.pass_over(record.key, record.step)
            elif isinstance(record, Metric):
                self._metric(record)
        self.changes.clear()
        self.changes.update(before)

    def fit_late(self, record: Record) -> Record:
        """Fit a record that is sent after others that were logged later."""
        if not isinstance(record, Metric):
            return record
        return attrs.evolve(record, step=self._steps.fitted_late(record.step))

    def _metric(self, metric: Metric) -> list[Record]:
        value = metric.value
        if self._capabilities.not_a_number == "drop" and not math.isfinite(value):
            self.changes["values that are not a number were left out"] += 1
            return []
        if self._capabilities.time_resolution is None:
            self.changes["points have the time of their arrival"] += 1
        key = self._key(metric.key)
        step = self._steps.fitted(key, metric.step)
        if key == metric.key and step is metric.step:
            return [metric]
        return [Metric(key, value, step, metric.timestamp)]

    def _param(self, param: Param) -> list[Record]:
        key = self._key(param.key)
        if not isinstance(param.value, str):
            return [attrs.evolve(param, key=key)]
        limit = self._capabilities.param_length
        shown, extra = self._text(key, encodable(param.value), limit, "params")
        return [Param(key, shown), *extra]

    def _text(
        self, key: str, value: str, limit: int | None, what: str
    ) -> tuple[str, list[Artifact]]:
        """Shorten a text that is too long; the whole of it becomes an artifact."""
        shown = value
        if limit is not None and len(value) > limit:
            shown = value[: max(limit - 1, 0)] + "…"
        most = self._capabilities.largest_request
        if most is not None and size_as_sent(Tag(key, shown)) > most:
            shown = shortened_to(shown, most - FRAME - size_as_sent(Tag(key, "")))
        if shown == value:
            return value, []
        self.changes[f"{what} were shortened, and kept whole as artifacts"] += 1
        file_name = re.sub(r"[^A-Za-z0-9.-]", "_", key)[:100] + ".txt"
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        folder = make_private_folder(self._folder / "long" / digest)
        write_whole(folder / file_name, value)
        name = f"trackyard/{what}/{file_name}"
        kind: ArtifactKind = "text" if "text" in self._capabilities.kinds else "file"
        artifact = Artifact(name, folder / file_name, kind, media_type="text/plain")
        return shown, [artifact]

    def _artifact(self, artifact: Artifact) -> Artifact:
        if artifact.media_type == MEDIA_TYPE:  # which tells nobody outside what it is
            artifact = attrs.evolve(artifact, media_type="text/plain")
        name = fitted_name(artifact.name, self._capabilities.artifact_pattern)
        if name != artifact.name:
            self.changes["artifacts were renamed"] += 1
            artifact = self._under(name, artifact)
        if artifact.kind in self._capabilities.kinds:
            return attrs.evolve(artifact, name=name)
        may_be_image = artifact.kind in ("figure", "video")  # such as GIF
        shown_as_image = may_be_image and "image" in self._capabilities.kinds
        is_image = shown_as_image and (artifact.media_type or "").startswith("image/")
        self.changes[f"artifacts of kind {artifact.kind} were sent as another kind"] += 1
        return attrs.evolve(artifact, name=name, kind="image" if is_image else "file")

    def _under(self, name: str, artifact: Artifact) -> Artifact:
        """Give the file the name that the backend gets: SDKs send it under that."""
        own = name.rpartition("/")[2]
        if own == artifact.path.name:
            return artifact
        digest = hashlib.sha256(str(artifact.path).encode("utf-8", "surrogatepass")).hexdigest()
        path = make_private_folder(self._folder / "renamed" / digest[:16]) / own
        with suppress(FileExistsError):
            path.symlink_to(artifact.path)
        return attrs.evolve(artifact, path=path)

    def _key(self, key: str) -> str:
        adapted = self._keys.get(key)
        if adapted is None:
            adapted = self._keys[key] = self._adapt_key(key)
            if adapted != key:
                self.changes["keys were renamed"] += 1
        return adapted

    def _adapt_key(self, key: str) -> str:
        adapted = _fitted(key, self._key_pattern)
        limit = self._key_length
        if limit is not None and len(adapted) > limit:
            digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:12]
            adapted = f"{adapted[: limit - 13]}_{digest}"
        return adapted


def _shorter(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _share(largest_request: int | None) -> int | None:
    return None if largest_request is None else max(largest_request // _KEY_SHARE, 14)


def _fitted(text: str, pattern: re.Pattern[str]) -> str:
    """Give a text that a pattern allows and `original_key` undoes: itself where that does."""
    allowed = pattern.fullmatch
    adapted = text
    is_plain = allowed(text) and _encodable(text) == text
    if not is_plain or text == "_empty_" or re.search(r"_u[0-9a-f]+_", text):
        adapted = _escaped(
            text, lambda c: bool(allowed(f"a{c}a")) and not "\ud800" <= c <= "\udfff"
        )
    if not allowed(adapted):  # such as "a//b", where each character alone would do
        adapted = _escaped(text, lambda character: character.isalnum() and character.isascii())
    return adapted


def original_key(adapted: str) -> str:
    """Undo the renaming of a key that was not shortened."""
    if adapted == "_empty_":
        return ""
    return re.sub(r"_u([0-9a-f]+)_", lambda match: chr(int(match.group(1), 16)), adapted)


def _escaped(key: str, is_allowed: Callable[[str], bool]) -> str:
    """Write each forbidden character as `_u<hexadecimal>_`, and a literal `_u...` so as well."""
    if not key:
        return "_empty_"

    def literal(match: re.Match[str]) -> str:
        # With what follows it would read as an escaped character.
        return "_u5f_" if match[1] == "_" or not is_allowed(match[1]) else "_"

    key = re.sub(r"(?s)_(?=u[0-9a-f]+(.))", literal, key)
    key = re.sub(r"^_(?=empty_$)", "_u5f_", key)
    return "".join(c if c == "_" or is_allowed(c) else f"_u{ord(c):x}_" for c in key)


def fitted_name(name: str, pattern: str) -> str:
    """Give an artifact's name as a backend gets it.

    Args:
        name: The name.
        pattern: What arrives there as it is, see `Capabilities.artifact_pattern`.
    """
    name = sent_name(name)
    if pattern == _ANY:
        return name
    return "/".join(_file_name(_fitted(part, re.compile(pattern))) for part in name.split("/"))


def _file_name(text: str) -> str:
    """Shorten what no file can be called: with what is escaped a name may be too long."""
    data = text.encode()
    if len(data) <= _LONGEST_NAME:
        return text
    digest = hashlib.sha256(data).hexdigest()[:12]
    return f"{digest}_{data[13 - _LONGEST_NAME :].decode(errors='ignore')}"


def original_name(name: str, pattern: str) -> str:
    """Undo `fitted_name`, but for what `sent_name` changes.

    Args:
        name: The name that a backend has.
        pattern: What arrives there as it is, see `Capabilities.artifact_pattern`.
    """
    return name if pattern == _ANY else "/".join(map(original_key, name.split("/")))


def sent_name(name: str) -> str:
    """Give an artifact's name as any backend may get it: a relative path, without `..`."""
    return _safe_path(_encodable(name))


def _encodable(text: str) -> str:
    """Write lone surrogates, which UTF-8 cannot hold, as backslash escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _safe_path(name: str) -> str:
    """Make a relative path without `..`, from any text."""
    parts = [part for part in re.split(r"[/\\\0]+", name) if part not in ("", ".", "..")]
    return "/".join(parts) or "unnamed"
