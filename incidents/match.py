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

from incidents.grams import RUN, phrase_grams, run_grams
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


def _phrase(text: str) -> str | None:
    """The phrase of tokens that every text holding `text` has; None when it has no token at all.

    Punctuation leaves no gap between tokens, so one phrase goes across it: "3.5元" is the tokens 3, 5元. A run
    that ends inside `text` ends in the post too and brings its last character alone.
    """
    runs = list(RUN.finditer(text))
    if not runs:
        return None
    tokens = [gram for run in runs[:-1] for gram in run_grams(run[0])]
    last = runs[-1]
    if last.end() < len(text):
        tokens += run_grams(last[0])
    else:
        tokens += phrase_grams(last[0])
    # a last character that may go on: every token that begins with it
    open_end = last.end() == len(text) and len(last[0]) == 1
    return '"' + " ".join(tokens) + '"' + ("*" if open_end else "")


def _fts(node: Node) -> _Fts:
    match node:
        case Term(text):
            return _Fts(_phrase(text), exact=RUN.fullmatch(text) is not None)
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


@dataclass(frozen=True)
class FtsCondition:
    """`where` on SQLite; with `joined` it speaks of `post_fts`; without `exact` it is a superset."""

    joined: bool
    exact: bool
    where: tuple[ColumnElement[bool], ...]


def fts_condition(query: Query) -> FtsCondition:
    """What the index of SQLite can say about a query."""
    plan = _fts(query.node) if query.node is not None else _Fts(None)
    where: list[ColumnElement[bool]] = []
    if plan.match is not None:
        match = f"({plan.match}) NOT ({plan.avoid})" if plan.avoid else plan.match
        where.append(literal_column("post_fts").op("MATCH", is_comparison=True)(literal(match, Text)))
    elif plan.avoid is not None:
        avoided: Select[Any] = select(literal_column("rowid")).select_from(_FTS)
        avoided = avoided.where(sql("post_fts MATCH :avoid").bindparams(avoid=plan.avoid))
        where.append(Post.id.not_in(avoided))
    return FtsCondition(plan.match is not None, plan.exact, tuple(where))


def recheck(session: Session, query: Query) -> ColumnElement[bool]:
    """On SQLite: ask the query itself about each row, for a page that stops early."""
    connection: Any = session.connection().connection.driver_connection
    connection.create_function("qs_matches", 3, _matches, deterministic=True)
    return func.qs_matches(query.source, Post.title, Post.text) == 1


@lru_cache(maxsize=64)
def _parsed(source: str) -> Query:
    return parse(source)


def _matches(source: str, title: str, body: str) -> int:
    return int(_parsed(source).matches(title, body))


def gin_condition(node: Node) -> ColumnElement[bool]:
    """The condition on PostgreSQL: the array narrows, the comparable text decides."""
    match node:
        case Term(text):
            return _holds(text)
        case Near(left, right):
            return and_(*_narrow(left.text), *_narrow(right.text), PostSearch.body.regexp_match(node.pattern))
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
