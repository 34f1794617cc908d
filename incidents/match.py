"""From a parsed query to the conditions of each database."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    table,
    true,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlalchemy.types import Text

from incidents.grams import RUN, phrase_grams
from incidents.models import Post, PostSearch
from incidents.querylang import And, Near, Node, Not, Or, Query, Term, parse


@dataclass(frozen=True)
class _Fts:
    """What FTS5 can say: posts that match `match` (None: any post) and do not match `avoid`.

    `exact` False: some of these posts do not satisfy the query and must be looked at.
    """

    match: str | None
    avoid: str | None = None
    exact: bool = True


def _phrase(run: str) -> str:
    # one character: every token that begins with it, which is every place where it stands
    return f'"{run}"*' if len(run) == 1 else '"' + " ".join(phrase_grams(run)) + '"'


def _fts(node: Node) -> _Fts:
    match node:
        case Term(text):
            runs = RUN.findall(text)
            return _Fts(" AND ".join(map(_phrase, runs)) or None, exact=runs == [text])
        case Near(left, right, distance):
            return _Fts(_near(left, right, distance), exact=False)
        case And(parts):
            return _all([_fts(part) for part in parts])
        case Or(parts):
            return _any([_fts(part) for part in parts])
        case Not(part):
            inner = _fts(part)
            if inner.exact and inner.match is not None and inner.avoid is None:
                return _Fts(None, avoid=inner.match)
            return _Fts(None, exact=False)


def _near(left: Term, right: Term, distance: int) -> str | None:
    if all(RUN.fullmatch(term.text) for term in (left, right)):
        # a phrase of n characters has n-1 tokens: one token more may lie between than characters do
        return f"NEAR({_phrase(left.text)} {_phrase(right.text)}, {distance + 1})"
    return _all([_fts(left), _fts(right)]).match


def _all(parts: list[_Fts]) -> _Fts:
    found = [f"({part.match})" for part in parts if part.match is not None]
    avoid = [f"({part.avoid})" for part in parts if part.avoid is not None]
    return _Fts(
        " AND ".join(found) or None,
        " OR ".join(avoid) or None,
        # without punctuation in it every part was decided by the index
        all(part.exact for part in parts),
    )


def _any(parts: list[_Fts]) -> _Fts:
    if any(part.match is None for part in parts):
        return _Fts(None, exact=False)
    matches = [f"({part.match}) NOT ({part.avoid})" if part.avoid else str(part.match) for part in parts]
    return _Fts(" OR ".join(f"({match})" for match in matches), exact=all(part.exact for part in parts))


_FTS = table("post_fts")


def fts_condition(query: Query) -> tuple[bool, list[ColumnElement[bool]]]:
    """Whether `post_fts` must be joined, and the conditions on SQLite. Needs `register_matcher`."""
    if query.node is None:
        return False, []
    plan = _fts(query.node)
    where: list[ColumnElement[bool]] = []
    if plan.match is not None:
        match = f"({plan.match}) NOT ({plan.avoid})" if plan.avoid else plan.match
        where.append(literal_column("post_fts").op("MATCH", is_comparison=True)(literal(match, Text)))
    elif plan.avoid is not None:
        avoided: Select[Any] = select(literal_column("rowid")).select_from(_FTS)
        avoided = avoided.where(sql("post_fts MATCH :avoid").bindparams(avoid=plan.avoid))
        where.append(Post.id.not_in(avoided))
    if not plan.exact:
        where.append(func.qs_matches(query.source, Post.title, Post.text) == 1)
    return plan.match is not None, where


@lru_cache(maxsize=64)
def _parsed(source: str) -> Query:
    return parse(source)


def _matches(source: str, title: str, body: str) -> int:
    return int(_parsed(source).matches(title, body))


def register_matcher(session: Session) -> None:
    """Make `qs_matches(query, title, text)` known to this SQLite connection."""
    connection: Any = session.connection().connection.driver_connection
    connection.create_function("qs_matches", 3, _matches, deterministic=True)


def gin_condition(node: Node) -> ColumnElement[bool]:
    """The condition on PostgreSQL: the array narrows, the comparable text decides."""
    match node:
        case Term(text):
            return _holds(text)
        case Near(left, right):
            return and_(*_narrow(left.text), *_narrow(right.text), PostSearch.body.op("~")(node.pattern))
        case And(parts):
            return and_(*map(gin_condition, parts))
        case Or(parts):
            return or_(*map(gin_condition, parts))
        case Not(part):
            return not_(gin_condition(part))


def _narrow(text: str) -> list[ColumnElement[bool]]:
    grams = sorted({gram for run in RUN.findall(text) for gram in phrase_grams(run)})
    return [PostSearch.grams.op("@>", is_comparison=True)(literal(grams, ARRAY(Text)))] if grams else []


def _holds(text: str) -> ColumnElement[bool]:
    narrow = _narrow(text)
    if narrow and len(text) <= 2 and RUN.fullmatch(text):
        return and_(true(), *narrow)
    return and_(*narrow, func.strpos(PostSearch.body, text) > 0)
