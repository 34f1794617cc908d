"""The full-text index: written with every post, cleared with every purge. Asking is in incidents.search."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select, text
from sqlalchemy.orm import Session

from incidents.grams import RUN, body_of, run_grams
from incidents.models import Meta, Post, PostSearch
from incidents.session import Database

#: key in `meta` while the index is to be rewritten, and how far that is
_COMPACT, _WANTED, _GOING = "index.compact", "wanted", "going"
#: pages of 4 kB that one step rewrites
_PAGES = 500
_CHANGES = text("SELECT total_changes()")
_MERGE = text("INSERT INTO post_fts(post_fts, rank) VALUES ('merge', :pages)")


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


def want_compact(session: Session) -> None:
    """Ask for the index to be rewritten (`compact`): words of deleted posts are to go from the file, not only from answers."""
    if session.get_bind().dialect.name == "sqlite":
        session.merge(Meta(key=_COMPACT, value=_WANTED))


def compact(db: Database, limit_s: float = 20.0) -> int:
    """Rewrite the SQLite index if that was asked for, in steps between which everybody else may write; returns the steps.

    What a call cannot end in `limit_s` the next one goes on with, also after a crash. At a million posts a step takes
    35 ms and there are 159; rewritten at once nobody could acknowledge for five seconds.
    """
    steps, end = 0, time.monotonic() + limit_s
    while db.is_sqlite and time.monotonic() < end:
        with db.transaction() as session:
            stage = session.get(Meta, _COMPACT)
            if stage is None:
                break
            # freed pages are overwritten, or the words would stay readable in them
            session.execute(text("PRAGMA secure_delete = ON"))
            before = session.scalar(_CHANGES) or 0
            # the negative number begins: all parts of the index are to become one
            begins = stage.value == _WANTED
            pages = -_PAGES if begins else _PAGES
            session.execute(_MERGE, {"pages": pages})
            # FTS5 changes at least two rows of its own tables as long as there is something to do
            if begins or (session.scalar(_CHANGES) or 0) - before >= 2:
                stage.value = _GOING
            else:
                session.delete(stage)
        steps += 1
    return steps


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
