"""Likes, comments and reposts over time: the newest on the post, the series behind it thinned as the post grows older.

A reading is kept when the post has grown to about twice the age of the last one kept, or a day later: after 1 h, 3 h, 9 h, 1 d, 3 d, 7 d
some eight rows. Heat and grade use the newest numbers (`post.engagement`); the series shows how they came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from incidents.chunks import chunks
from incidents.models import JsonDict, PostCount

LEAST, MOST = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Measure:
    """Counts of one post at one time."""

    post_id: int
    published_at: datetime
    at: datetime
    counts: JsonDict


def keep_counts(session: Session, measures: Sequence[Measure]) -> int:
    """Add those readings to the series that are far enough from the last one; how many."""
    wanted = {one.post_id: one for one in measures if one.counts}
    if not wanted:
        return 0
    last: dict[int, datetime] = {}
    ids = list(wanted)
    for chunk in chunks(ids):
        query = (
            select(PostCount.post_id, func.max(PostCount.at))
            .where(PostCount.post_id.in_(chunk))
            .group_by(PostCount.post_id)
        )
        last.update({row[0]: row[1] for row in session.execute(query)})
    rows = [
        {"post_id": one.post_id, "at": one.at, "counts": dict(one.counts)}
        for one in wanted.values()
        if far_enough(one, last.get(one.post_id))
    ]
    if rows:
        session.execute(insert(PostCount), rows)
    return len(rows)


def far_enough(one: Measure, last: datetime | None) -> bool:
    """Whether this reading is kept after one of `last`."""
    if last is None:
        return True
    gap = one.at - last
    return gap >= LEAST and gap >= min(MOST, max(timedelta(0), last - one.published_at))


def interactions(counts: Mapping[str, Any]) -> int:
    """Likes, comments and reposts together; views are no act."""
    names = ("likes", "comments", "reposts")
    values = (counts.get(name) for name in names)
    return sum(int(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool) and v > 0)


def series_of(session: Session, post_id: int) -> list[tuple[datetime, JsonDict]]:
    """The kept counts of one post, oldest first."""
    query = select(PostCount.at, PostCount.counts).where(PostCount.post_id == post_id).order_by(PostCount.at)
    return [(at.astimezone(UTC), counts) for at, counts in session.execute(query)]
