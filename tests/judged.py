"""A judgement for tests that do not judge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from incidents.judgements import NewJudgement


def judged(post_id: int, **fields: Any) -> NewJudgement:
    """One angry post about food in 历下区; every field can be given."""
    usual = NewJudgement(
        post_id=post_id,
        domain="food_safety",
        domain_score=0.9,
        tone="neg",
        tone_score=0.9,
        snownlp_score=0.1,
        signal=True,
        signal_score=0.9,
        risk=0,
        risk_score=0.1,
        model_version="test",
        districts=["历下区"],
    )
    return replace(usual, **fields)
