"""What does an author read of whose flavor a check has failed?"""

from __future__ import annotations

import re
from collections.abc import Mapping

_PAGE = "docs/write-a-flavor.md"
# The section of the page for authors that says more, by the module of the checks.
_SECTIONS: Mapping[str, str] = {
    "packaging": "by-hand-the-folder-and-each-file",
    "configuration": "name-the-sdks-variables",
    "life_cycle": "what-the-hooks-have-to-keep",
    "data": "declare-limits",
    "limits": "declare-limits",
    "irregular": "declare-limits",
    "delivery": "what-the-hooks-have-to-keep",
    "harm": "what-the-hooks-have-to-keep",
    "faults": "say-what-went-wrong",
    "storms": "say-what-went-wrong",
    "sources": "runs-of-others",
    "programs": "what-core-does-for-an-sdk-that-is-awkward",
    "hooks": "what-the-hooks-have-to-keep",
}


def page_of(module: str, sentence: str) -> str:
    """Give the page, and the section of it, that says more about a check.

    Args:
        module: The module that the check is in.
        sentence: The sentence of the contract that it proves: a hook that it names has a page.
    """
    hook = re.search(r"\btracker_[a-z_]+", sentence)
    if hook is not None:
        return f"docs/reference/hooks/{hook[0]}.md"
    section = _SECTIONS.get(module.rpartition(".")[2], "tell-the-suite-about-your-backend")
    return f"{_PAGE}#{section}"
