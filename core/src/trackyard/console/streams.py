"""How is seen what goes through `sys.stdout`, `sys.stderr` and `logging` in a process?

The objects stay what they are: their method `write` is covered while a run is active, and that of
their buffers, so that whoever holds them (handlers of `logging`, notebooks, pytest) goes on as
before. Descriptors are
left alone: a pipe under code of C that holds Python's lock would stop the step.
"""

from __future__ import annotations

import logging
import sys
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping
from threading import RLock, get_ident, local
from typing import Any

from trackyard.console.following import FollowedFile
from trackyard.console.keeping import Console
from trackyard.console.lines import StreamName
from trackyard.system.interruption import let_signals_through
from trackyard.system.notebooks import before_each_cell

logger = logging.getLogger("trackyard")


class CoveredStreams:
    """The streams of this process, covered while somebody wants that.

    Args:
        find: Gives the console of the run that the calling thread belongs to, or None.

    Attributes:
        files: Files that are followed, by descriptor: what goes there is kept from there.
    """

    def __init__(self, find: Callable[[], Console | None]) -> None:
        self._find = find
        self.files: dict[int, FollowedFile] = {}
        self._users: set[object] = set()
        self._covers: list[_Cover] = []
        self._inside: set[int] = set()  # threads in a `write`, which may call another one
        self._lock = RLock()
        self._end_watch: Callable[[], None] | None = None

    def cover(self, user: object) -> None:
        """See what is printed from now on, until each user has uncovered it.

        Args:
            user: Who wants it.
        """
        with self._lock:
            self._users.add(user)
            self._cover_all()
            # IPython puts a `write` of its own over ours in each cell, and takes both away.
            self._end_watch = self._end_watch or before_each_cell(self._cover_all)

    def uncover(self, user: object) -> None:
        """Leave the streams as they were, once nobody wants to see them; twice is no error.

        Args:
            user: Who wants it no more.
        """
        with self._lock:
            self._users.discard(user)
            if not self._users:
                end, self._end_watch = self._end_watch, None
                if end is not None:
                    end()
                # Buffers first: as long as they are covered, their streams have to be.
                kept = [cover for cover in reversed(self._covers) if not cover.take_away()]
                self._covers = kept[::-1]

    def is_used_by(self, user: object) -> bool:
        """Tell whether one of those who want it is this one."""
        return user in self._users

    def _cover_all(self) -> None:
        with self._lock:
            for stream, name in _streams():
                self._cover(stream, name)

    def _cover(self, stream: Any, name: StreamName) -> None:
        """Cover a stream, unless it is; what somebody else has put over ours is covered anew."""
        for cover in self._covers:
            if cover.stream is stream:
                if cover.is_on_top():
                    cover.is_live = True
                    return
                cover.is_live = False
        cover = _Cover(stream, name, self._find, self._inside, self.files)
        try:
            cover.put_on()
        except Exception as error:  # an object of the user's may refuse anything
            let_signals_through(error)
            logger.debug("what goes through %r is not kept: %s", type(stream).__name__, error)
        else:
            self._covers = [c for c in self._covers if c.is_live or c.stream is not stream]
            self._covers.append(cover)


class _Cover:
    """One stream's `write`, and what is put over it.

    Text goes on from a stream to its buffer when it is flushed, too: `flush` is covered as well, so
    that the buffer's cover can tell that text from bytes which somebody writes there.
    """

    def __init__(
        self,
        stream: Any,
        name: StreamName,
        find: Callable[[], Console | None],
        inside: set[int],
        files: Mapping[int, FollowedFile],
    ) -> None:
        self.stream = stream
        self.is_live = True
        self._find, self._inside, self._name = find, inside, name
        self._files, self._number = files, _number_of(stream)
        self._decoders = local()  # a character may come in two pieces, but from one thread
        self._before = {key: getattr(stream, key) for key in ("write", "flush")}
        self._had_own = {key for key in self._before if key in getattr(stream, "__dict__", {})}
        self._over = {key: self._made(key, before) for key, before in self._before.items()}

    def put_on(self) -> None:
        for key in ("flush", "write"):
            setattr(self.stream, key, self._over[key])

    def is_on_top(self) -> bool:
        return self.stream.__dict__.get("write") is self._over["write"]

    def take_away(self) -> bool:
        """Give the stream its own methods back; False where somebody else's stand over ours."""
        self.is_live = False
        found = [key for key in self._over if self.stream.__dict__.get(key) is self._over[key]]
        for key in found:
            if key in self._had_own:
                setattr(self.stream, key, self._before[key])
            else:
                delattr(self.stream, key)
        return "write" in found

    def _made(self, key: str, before: Callable[..., Any]) -> Callable[..., Any]:
        inside = self._inside

        def call_and_keep(*arguments: Any, **keywords: Any) -> Any:
            thread = get_ident()
            if thread in inside or not self.is_live:
                return before(*arguments, **keywords)
            inside.add(thread)
            try:
                file = self._files.get(self._number) if key == "write" else None
                if file is not None:
                    file.pass_on()
                result = before(*arguments, **keywords)
                try:
                    console = self._find() if key == "write" and arguments else None
                    if console is not None and file is not None:
                        file.pass_on(console)
                    elif console is not None:
                        console.write(self._name, self._text_of(arguments[0]))
                except Exception as error:  # a step never fails by what it prints
                    let_signals_through(error)
                return result
            finally:
                inside.discard(thread)

        return call_and_keep

    def _text_of(self, given: Any) -> str:
        """Give what was written as text; bytes are UTF-8, as terminals have it."""
        if isinstance(given, str):
            return given
        decoder = getattr(self._decoders, "own", None)
        if decoder is None:
            decoder = self._decoders.own = getincrementaldecoder("utf-8")("replace")
        return str(decoder.decode(bytes(given)))


def _streams() -> Iterator[tuple[Any, StreamName]]:
    """Give the streams that are printed to: also those that handlers of `logging` have kept."""
    found = {id(None)}
    candidates: list[tuple[Any, StreamName]] = [(sys.stdout, "out"), (sys.stderr, "err")]
    for stream in _streams_of_handlers():
        number = _number_of(stream)
        if number in (1, 2):
            candidates.append((stream, "out" if number == 1 else "err"))
    # A buffer comes behind its stream, whose text would else count twice.
    for stream, name in [*candidates, *_buffers(candidates)]:
        if id(stream) not in found:
            found.add(id(stream))
            yield stream, name


def _buffers(streams: list[tuple[Any, StreamName]]) -> Iterator[tuple[Any, StreamName]]:
    for stream, name in streams:
        try:
            yield stream.buffer, name
        except Exception as error:  # most streams of notebooks have none
            let_signals_through(error)


def _streams_of_handlers() -> list[Any]:
    loggers = [logging.getLogger(), *list(logging.Logger.manager.loggerDict.values())]
    return [
        handler.stream
        for one in loggers
        for handler in getattr(one, "handlers", ())
        if isinstance(handler, logging.StreamHandler)
        and not isinstance(handler, logging.FileHandler)
    ]


def _number_of(stream: Any) -> int:
    try:
        return int(stream.fileno())
    except Exception as error:
        let_signals_through(error)
        return -1
