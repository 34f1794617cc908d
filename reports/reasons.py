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
    parts = []
    if "posts" in why and "hours" in why:
        parts.append(_("{hours}小时内{posts}条").format(hours=_plain(why["hours"]), posts=why["posts"]))
    if "voices" in why:
        parts.append(_("来自{n}人").format(n=why["voices"]))
    if "expected" in why:
        parts.append(_("预期{n}条").format(n=_plain(why["expected"])))
    if "negative_share" in why:
        parts.append(_("负面{share}").format(share=f"{100 * float(why['negative_share']):.0f}%"))
    if "sources" in why:
        parts.append(_("{n}个信源").format(n=_size(why["sources"])))
    if why.get("words"):
        parts.append(_("涉及{words}").format(words="、".join(str(word) for word in why["words"][:4])))
    return ("，" if not language.startswith("en") else ", ").join(parts)


def _plain(value: float) -> str:
    return f"{float(value):.1f}".rstrip("0").rstrip(".")


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list | tuple | dict) else int(value)
