"""One post with everything that is known of it: judgement, incident, what people said. For pages and `why`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import labels
from incidents.models import Incident, IncidentPost, Judgement, Post
from incidents.stops import meant, spellings


@dataclass(frozen=True)
class JudgementView:
    """A stored judgement; people's corrections are in it, the scores are the model's."""

    domain: str
    domain_score: float
    tone: str
    tone_score: float
    snownlp_score: float
    signal: bool
    signal_score: float
    risk: int
    risk_score: float
    abstain: bool
    about: str
    districts: tuple[str, ...]
    places: tuple[dict[str, Any], ...]
    reasons: dict[str, Any]
    near_copy_of: int | None
    model_version: str
    judged_at: datetime


@dataclass(frozen=True)
class Dossier:
    """One post. `incident_id` is the row that holds it: an incident, or a cluster that has not emerged."""

    id: int
    source_id: str
    url: str
    title: str
    text: str
    published_at: datetime
    fetched_at: datetime
    place_hint: str
    judgement: JudgementView | None
    incident_id: int | None
    similarity: float | None
    joined_at: datetime | None
    sketch: dict[str, Any]  # clustering state of what holds it; analysis owns the content
    said: dict[str, labels.LabelView]  # latest label of each kind


def find_posts(session: Session, key: str, limit: int = 10) -> list[int]:
    """Ids of the posts that `key` names: a post id, or the address it was published at (any usual spelling)."""
    if key.isascii() and key.isdigit():
        number = int(key)
        query = (
            select(Post.id).where(Post.id == number) if number < 2**62 else select(Post.id).where(Post.id < 0)
        )
    else:
        query = select(Post.id).where(Post.url.in_([key, *spellings(key), *spellings(meant(key))]))
    return list(session.scalars(query.order_by(Post.id).limit(limit)))


def dossier(session: Session, post_id: int) -> Dossier | None:
    """Everything about one post, or None when it is not (any more) there."""
    post = session.get(Post, post_id)
    if post is None:
        return None
    member = session.get(IncidentPost, post_id)
    holder = session.get(Incident, member.incident_id) if member else None
    return Dossier(
        id=post.id,
        source_id=post.source_id,
        url=post.url,
        title=post.title,
        text=post.text,
        published_at=post.published_at,
        fetched_at=post.fetched_at,
        place_hint=post.place_hint,
        judgement=_judgement(session.get(Judgement, post_id)),
        incident_id=member.incident_id if member else None,
        similarity=member.similarity if member else None,
        joined_at=member.added_at if member else None,
        sketch=dict(holder.sketch) if holder else {},
        said=labels.latest(session, [post_id]).get(post_id, {}),
    )


def _judgement(row: Judgement | None) -> JudgementView | None:
    if row is None:
        return None
    return JudgementView(
        domain=row.domain,
        domain_score=row.domain_score,
        tone=row.tone,
        tone_score=row.tone_score,
        snownlp_score=row.snownlp_score,
        signal=row.signal,
        signal_score=row.signal_score,
        risk=row.risk,
        risk_score=row.risk_score,
        abstain=row.abstain,
        about=row.about,
        districts=tuple(row.districts),
        places=tuple(row.places),
        reasons=dict(row.reasons),
        near_copy_of=row.near_copy_of,
        model_version=row.model_version,
        judged_at=row.judged_at,
    )
