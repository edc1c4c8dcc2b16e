"""What may the user have meant?"""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Give `; did you mean 'x'?` for the nearest known word, else an empty text.

    Args:
        word: What somebody wrote.
        known: What could have been meant.
    """
    import difflib  # costs 5 ms and is needed for mistakes only

    known = list(known)
    nearest = difflib.get_close_matches(word, known, n=1) or [
        name for name in known if word and name.endswith(f"_{word}")
    ]
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def listed(names: Iterable[str], otherwise: str = "none") -> str:
    """Give names as `'a', 'b'`, sorted, or `otherwise` where there are none.

    Args:
        names: The names, in any order.
        otherwise: What is given where there are none.
    """
    return ", ".join(repr(name) for name in sorted(names)) or otherwise
