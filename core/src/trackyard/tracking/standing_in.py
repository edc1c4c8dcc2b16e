"""What does `trackyard` offer in place of a call that there is no memory to import?

It is imported where nothing else can be, so that it imports what is light.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

from trackyard.tracking.containing import is_ours_to_bear, say_spared

_LOG_CALLS = ("log_", "set_tag")


def in_place_of(
    name: str, load: Callable[[str], Any], error: ImportError | MemoryError
) -> Callable[..., Any]:
    """Give a call in place of one whose module could not be imported; it tries that again.

    Args:
        name: What was asked of `trackyard`.
        load: Imports it.
        error: What that has raised.

    Raises:
        ImportError: Nothing can stand in for it.
        MemoryError: Likewise.
    """
    if not is_ours_to_bear(error) or not (name == "start_run" or name.startswith(_LOG_CALLS)):
        raise error

    def call(*arguments: Any, **keywords: Any) -> Any:
        try:
            function = load(name)
        except (ImportError, MemoryError) as again:
            if not is_ours_to_bear(again):
                raise
            if name != "start_run":
                return say_spared(name, again)
            named = arguments[0] if arguments else keywords.get("name")
            return _run_without(str(named or "none"), again)
        return function(*arguments, **keywords)

    return call


def _run_without(name: str, error: BaseException) -> Any:
    try:
        from trackyard.tracking.untracked import untracked_run

        return untracked_run(name, error)
    except (ImportError, MemoryError) as again:
        if not is_ours_to_bear(again):
            raise
        say_spared(f"run {name!r}, which is not tracked", again)
        return Nobody()


class Nobody:
    """Stands in for a run where not even the code of one can be imported; all calls do nothing."""

    id, name, parent_id, url = "0" * 32, "none", None, None
    urls: ClassVar[dict[str, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_, **__: None
