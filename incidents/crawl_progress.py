"""What a running crawl has to ask and note: which posts are known already, and how far it has come."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import hot_titles
from incidents.chunks import chunks
from incidents.models import JsonDict, Post, SourceState

#: ids asked for in one statement; SQLite takes 32,766 parameters


def known_ids(session: Session, source_id: str, external_ids: Sequence[str]) -> set[str]:
    """Those of `external_ids` under which a post or hot title of this source is stored."""
    found: set[str] = set()
    for chunk in chunks(external_ids):
        query = select(Post.external_id).where(Post.source_id == source_id, Post.external_id.in_(chunk))
        found.update(session.scalars(query))
    if len(found) < len(external_ids):
        found |= hot_titles.known(session, source_id, [one for one in external_ids if one not in found])
    return found


def keep_cursor(session: Session, source_id: str, cursor: JsonDict) -> None:
    """Note how far an unfinished crawl has come, in the transaction of the posts it saved; state and times stay as they are."""
    row = session.get(SourceState, source_id)
    if row is None:
        session.add(
            SourceState(
                source_id=source_id, state="new", evidence="", failures=0, posts_total=0, cursor=dict(cursor)
            )
        )
    else:
        row.cursor = dict(cursor)
    session.flush()
