"""A letter of supervision in words: what the console says, and what sets it on paper without knowing the console."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LetterText:
    """Every line of one letter, in one language. Empty lines are left out on paper."""

    language: str  # zh_CN | en
    mast: str  # office and kind, in red
    issue: str  # 发文字号, with room for the number
    number: str  # of the incident
    date: str
    title: str
    warning: str  # of a draft
    addressee: str  # 主送机关
    body: tuple[str, ...]
    reply: str  # until when an order is to be answered
    issuer: str  # who signs
    approved: str  # by whom and when
    annex: str  # heading of the evidence
    evidence: tuple[str, ...]
    foot: tuple[str, ...]
