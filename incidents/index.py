"""The full-text index: written with every post, cleared with every purge. Asking is in incidents.search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select, text
from sqlalchemy.orm import Session

from incidents.grams import RUN, body_of, run_grams
from incidents.models import Post, PostSearch


@dataclass(frozen=True)
class IndexRow:
    """What is indexed of one post."""

    id: int
    title: str
    text: str


def _tokens(row: IndexRow) -> str:
    return " ".join(gram for run in RUN.findall(body_of(row.title, row.text)) for gram in run_grams(run))


def _gram_set(body: str) -> list[str]:
    # single characters too: an array has no search by beginning
    grams = {gram for run in RUN.findall(body) for gram in run_grams(run)}
    return sorted(grams | {char for gram in grams for char in gram})


def add_to_index(session: Session, rows: Sequence[IndexRow]) -> None:
    """Index new posts."""
    if not rows:
        return
    if session.get_bind().dialect.name == "postgresql":
        bodies = [(row.id, body_of(row.title, row.text)) for row in rows]
        session.execute(
            insert(PostSearch),
            [{"post_id": id_, "body": body, "grams": _gram_set(body)} for id_, body in bodies],
        )
    else:
        session.execute(
            text("INSERT INTO post_fts(rowid, grams) VALUES (:id, :grams)"),
            [{"id": row.id, "grams": _tokens(row)} for row in rows],
        )


def remove_from_index(session: Session, ids: Sequence[int]) -> None:
    """Forget posts that are about to be deleted; they must still be in `post`."""
    if not ids:
        return
    if session.get_bind().dialect.name == "postgresql":
        session.execute(delete(PostSearch).where(PostSearch.post_id.in_(ids)))
        return
    rows = [
        IndexRow(*row)
        for row in session.execute(select(Post.id, Post.title, Post.text).where(Post.id.in_(ids)))
    ]
    # a contentless table forgets a row only when it is told the row's tokens again
    session.execute(
        text("INSERT INTO post_fts(post_fts, rowid, grams) VALUES ('delete', :id, :grams)"),
        [{"id": row.id, "grams": _tokens(row)} for row in rows],
    )


def compact_index(session: Session) -> None:
    """Rewrite the SQLite index so that words of deleted posts are gone from the file, not only from answers."""
    if session.get_bind().dialect.name == "sqlite":
        session.execute(text("INSERT INTO post_fts(post_fts) VALUES ('optimize')"))


def rebuild_index(session: Session, batch: int = 500) -> int:
    """Index every post anew (after a change of incidents.grams); returns how many."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(delete(PostSearch))
    else:
        session.execute(text("INSERT INTO post_fts(post_fts) VALUES ('delete-all')"))
    done, last = 0, 0
    while rows := session.execute(
        select(Post.id, Post.title, Post.text).where(Post.id > last).order_by(Post.id).limit(batch)
    ).all():
        add_to_index(session, [IndexRow(*row) for row in rows])
        done, last = done + len(rows), rows[-1].id
    return done
