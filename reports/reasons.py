"""Why an incident was raised, in words: the arithmetic that its detection event recorded.

Only what the event holds is said; a key that is missing leaves its part out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from config.i18n import translator


def detection_reason(why: Mapping[str, Any], language: str) -> str:
    """The recorded arithmetic as one phrase; empty when the event recorded none."""
    _ = translator("reports", language)
    hours, posts = _first(why, "hours", "window_h"), _first(why, "observed", "posts")
    voices, share = _first(why, "voices", "authors"), _first(why, "negative_share", "negative")
    parts = []
    if hours is not None and posts is not None:
        parts.append(_("{hours}小时内{posts}条").format(hours=_plain(hours), posts=_plain(posts)))
    if voices is not None:
        parts.append(_("来自{n}人").format(n=_plain(voices)))
    if why.get("expected") is not None:
        parts.append(_("预期{n}条").format(n=_plain(why["expected"])))
    # a count of negative posts and their share are told apart by size: a share is never above 1
    if share is not None and 0 <= float(share) <= 1:
        parts.append(_("负面{share}").format(share=f"{100 * float(share):.0f}%"))
    if why.get("sources"):
        parts.append(_("{n}个信源").format(n=_size(why["sources"])))
    if why.get("words"):
        parts.append(_("涉及{words}").format(words="、".join(str(word) for word in why["words"][:4])))
    return ("，" if not language.startswith("en") else ", ").join(parts)


def _first(why: Mapping[str, Any], *names: str) -> float | None:
    """The first of these keys that holds a number."""
    found = (why.get(name) for name in names)
    return next((value for value in found if isinstance(value, int | float)), None)


def _plain(value: float) -> str:
    return f"{float(value):.1f}".rstrip("0").rstrip(".")


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list | tuple | dict) else int(value)
