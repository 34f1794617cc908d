"""Places in a text: every finding names one, so that a person can look."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_NARROW = {
    code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))
} | {ord(","): "，", ord(";"): "；", ord("?"): "？", ord("!"): "！", 0x3000: " "}
_SENTENCE = re.compile(r"[^。；！？\n\r]+[。；！？]?")


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` (not included) of a text."""

    start: int
    end: int

    def of(self, text: str) -> str:
        """The words."""
        return text[self.start : self.end]


def narrow(text: str) -> str:
    """Wide digits and letters narrow, narrow marks wide, character by character: places stay what they are."""
    return text.translate(_NARROW)


def sentences(text: str) -> Iterator[Span]:
    """Sentences of a narrowed text; a semicolon ends one."""
    for match in _SENTENCE.finditer(text):
        if match.group().strip():
            yield Span(match.start(), match.end())
