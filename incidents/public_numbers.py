"""Posts of one month for the public edition: by district and domain, with the authors only as running numbers.

A number stands for one author within one answer of this module and for nothing else: what leaves here can count
people and cannot name or find them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents.chunks import chunks
from incidents.models import IncidentPost, Judgement, Post

#: districts of a post that names none, or more than one: each post stands in one place, so that sums are sums
NOWHERE, SEVERAL = "", "*"


@dataclass
class Cell:
    """Posts of one district and domain, and who wrote them (numbers without a meaning)."""

    posts: int = 0
    authors: set[int] = field(default_factory=set)


def cells(session: Session, since: datetime, until: datetime) -> dict[tuple[str, str], Cell]:
    """Judged posts published in [since, until) by (district, domain). Posts whose source names no author add no author."""
    rows = session.execute(
        select(Judgement.districts, Judgement.domain, Post.author_key)
        .join(Post, Post.id == Judgement.post_id)
        .where(Post.published_at >= since, Post.published_at < until)
    )
    known: dict[str, int] = {}
    found: dict[tuple[str, str], Cell] = {}
    for districts, domain, author in rows:
        place = NOWHERE if not districts else districts[0] if len(districts) == 1 else SEVERAL
        cell = found.setdefault((place, domain), Cell())
        cell.posts += 1
        if author is not None:
            cell.authors.add(known.setdefault(author, len(known)))
    return found


def authors_of(session: Session, cases: dict[str, Collection[int]]) -> dict[str, set[int]]:
    """Authors of the posts of some incidents, for each name given; the same number is the same author in all of them."""
    owners: dict[int, list[str]] = {}
    for name, ids in cases.items():
        for one in ids:
            owners.setdefault(one, []).append(name)
    known: dict[str, int] = {}
    found: dict[str, set[int]] = {name: set() for name in cases}
    for some in chunks(sorted(owners)):
        rows = session.execute(
            select(IncidentPost.incident_id, Post.author_key)
            .join(Post, Post.id == IncidentPost.post_id)
            .where(IncidentPost.incident_id.in_(some), Post.author_key.is_not(None))
        )
        for incident_id, author in rows:
            number = known.setdefault(str(author), len(known))
            for name in owners[incident_id]:
                found[name].add(number)
    return found
