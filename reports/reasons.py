"""Why an incident was raised, in words for a leader: the arithmetic that its detection event recorded.

Only what the event holds is said, without the probabilities (the console shows those). An event of another shape
falls back to the sentence that it recorded itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from config.i18n import translator


def detection_reason(why: Mapping[str, Any], language: str) -> str:
    """The recorded arithmetic as one phrase without a full stop; empty when the event recorded none."""
    english = language.startswith("en")
    parts = _burst(why, language) or _fast(why, language)
    if parts:
        return (", " if english else "，").join(parts)
    return str(why.get("sentence_en" if english else "sentence_zh") or "").rstrip("。.")


def _burst(why: Mapping[str, Any], language: str) -> list[str]:
    """Authors and posts in the window against what is usual."""
    _ = translator("reports", language)
    hours, posts, voices = (_count(why.get(name)) for name in ("window_h", "posts", "voices"))
    if hours is None or posts is None or voices is None:
        return []
    span = _("{n}小时").format(n=hours) if hours < 48 else _("{n}天").format(n=hours // 24)
    parts = [_("{span}内{voices}人发帖{posts}条").format(span=span, voices=voices, posts=posts)]
    expected, negative, sources = why.get("expected"), _count(why.get("negative")), _count(why.get("sources"))
    if isinstance(expected, int | float):
        parts.append(_("平常应有{n}人").format(n=f"{expected:.1f}".removesuffix(".0")))
    if negative is not None and 0 <= negative <= posts:
        parts.append(_("其中负面{n}条").format(n=negative))
    if sources is not None:
        parts.append(_("{n}个信源").format(n=sources))
    return parts


def _fast(why: Mapping[str, Any], language: str) -> list[str]:
    """The words of harm that one post held."""
    words = why.get("words")
    if not isinstance(words, list | tuple) or not words:
        return []
    named = [str(entry.get("word", "")) if isinstance(entry, Mapping) else str(entry) for entry in words]
    listed = "、".join(f"“{word}”" for word in dict.fromkeys(named) if word)
    _ = translator("reports", language)
    return [_("一条帖文说到{words}").format(words=listed)] if listed else []


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
