"""From a parsed query to the conditions of each database: words by the full-text index, fields by the narrow rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
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
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session, aliased
from sqlalchemy.types import Text

from incidents.grams import RUN, body_of, phrase_grams, run_grams, spellings
from incidents.models import FacetCombo, Incident, IncidentPost, Post, PostFacet, PostSearch
from incidents.querylang import (
    And,
    Field,
    Near,
    Node,
    Not,
    Or,
    Term,
    When,
    holds,
    only_words,
    packed,
    unpacked,
)


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
        case _:
            raise ValueError(f"{node}: the index holds words only")


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


def words_and_fields(node: Node | None) -> tuple[Node | None, list[Node]]:
    """A query as two demands that must both hold: of words alone, and of fields (some with words inside)."""
    if node is None:
        return None, []
    parts = node.parts if isinstance(node, And) else (node,)
    words = [part for part in parts if only_words(part)]
    fields = [part for part in parts if not only_words(part)]
    joined = (words[0] if len(words) == 1 else And(tuple(words))) if words else None
    return joined, fields


def fts_condition(words: Node | None) -> FtsCondition:
    """What the index of SQLite can say about words."""
    plan = _fts(words) if words is not None else _Fts(None)
    where: list[ColumnElement[bool]] = []
    if plan.match is not None:
        match = f"({plan.match}) NOT ({plan.avoid})" if plan.avoid else plan.match
        where.append(_match(match))
    elif plan.avoid is not None:
        where.append(PostFacet.post_id.not_in(_found(plan.avoid)))
    return FtsCondition(plan.match is not None, plan.exact, tuple(where))


def _match(match: str) -> ColumnElement[bool]:
    return literal_column("post_fts").op("MATCH", is_comparison=True)(literal(match, Text))


def _found(match: str) -> Select[Any]:
    return select(literal_column("rowid")).select_from(_FTS).where(_match(match))


def written(words: Node | None) -> ColumnElement[bool] | None:
    """On SQLite: exactly the posts with one hanzi, asked of their stored words; None for any other search.

    For a hanzi that many posts hold: the index would have to bring all its tokens together first.
    """
    letters = spellings(words.text) if isinstance(words, Term) else None
    if not letters:
        return None
    holds_it = or_(*[func.instr(column, one) > 0 for one in letters for column in (Post.text, Post.title)])
    return select(literal(1)).where(Post.id == PostFacet.post_id, holds_it).correlate(PostFacet).exists()


def recheck(session: Session, words: Node) -> ColumnElement[bool]:
    """On SQLite: ask the query itself about each row of `post`."""
    return _asked(session, words, PostFacet.post_id)


def _asked(session: Session, words: Node, post_id: Any) -> ColumnElement[bool]:
    connection: Any = session.connection().connection.driver_connection
    connection.create_function("qs_holds", 3, _holds_packed, deterministic=True)
    holds_it = func.qs_holds(packed(words), Post.title, Post.text) == 1
    return select(literal(1)).where(Post.id == post_id, holds_it).correlate(PostFacet).exists()


def _holds_packed(words: str, title: str, body: str) -> int:
    return int(holds(unpacked(words), body_of(title, body)))


def field_condition(session: Session, node: Node, *, drives: bool = True) -> ColumnElement[bool]:
    """The condition on `post_facet` (on PostgreSQL with `post_search` beside it) for any part of a query.

    With `drives` False SQLite may not read the posts by the index of these fields, which it would always prefer.
    """
    sqlite = session.get_bind().dialect.name == "sqlite"
    match node:
        case And(parts):
            return and_(*[field_condition(session, part, drives=drives) for part in parts])
        case Or(parts):
            return or_(*[field_condition(session, part, drives=drives) for part in parts])
        case Not(part):
            return not_(field_condition(session, part, drives=drives))
        case Field(name, values):
            return _has(session, name, values, drives)
        case When(low, high):
            bounds = [PostFacet.at >= low] if low is not None else []
            return and_(true(), *bounds, *([PostFacet.at < high] if high is not None else []))
        case _ if not sqlite:
            return gin_condition(node)
        case _:
            plan = _fts(node)
            found = [PostFacet.post_id.in_(_found(plan.match))] if plan.match is not None else []
            return and_(true(), *found, *([] if plan.exact else [_asked(session, node, PostFacet.post_id)]))


#: a column behind a plus is in no index for SQLite
_COMBO_READ = type_coerce(literal_column("+post_facet.combo"), BigInteger)


def _has(session: Session, name: str, values: tuple[str, ...], drives: bool) -> ColumnElement[bool]:
    if name in ("state", "level", "department"):
        return PostFacet.post_id.in_(
            select(IncidentPost.post_id).where(
                IncidentPost.incident_id.in_(with_merged(getattr(Incident, name).in_(values)))
            )
        )
    combo = PostFacet.combo if drives or session.get_bind().dialect.name != "sqlite" else _COMBO_READ
    return combo.in_(combos(session, name, values))


def combos(session: Session, name: str, values: tuple[str, ...]) -> Select[Any]:
    """Ids of the combinations that have one of these codes in a field of posts."""
    chosen = select(FacetCombo.id)
    if name == "district":
        sqlite = session.get_bind().dialect.name == "sqlite"
        listed = func.json_each if sqlite else func.jsonb_array_elements_text
        each = listed(FacetCombo.districts).table_valued("value", name="each_district")
        if sqlite:
            # taking a list apart is slow: only of those that hold the name, as JSON may write it
            written = [form for value in values for form in (json.dumps(value), f'"{value}"')]
            as_text = FacetCombo.districts.cast(Text)
            chosen = chosen.where(or_(*[func.instr(as_text, form) > 0 for form in written]))
        return chosen.where(select(literal(1)).select_from(each).where(each.c.value.in_(values)).exists())
    if name == "risk":
        return chosen.where(FacetCombo.risk.in_([int(value) for value in values]))
    column = {"domain": FacetCombo.domain, "tone": FacetCombo.tone, "source": FacetCombo.source_id}[name]
    return chosen.where(column.in_(values))


def with_merged(which: ColumnElement[bool]) -> Select[Any]:
    """Ids of these incidents and of everything merged into them, directly or through another one."""
    found = select(Incident.id).where(which).cte("chosen_incidents", recursive=True)
    child = aliased(Incident)
    found = found.union(select(child.id).join(found, child.parent_id == found.c.id))
    return select(found.c.id)


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
        case _:
            raise ValueError(f"{node}: the index holds words only")


def _narrow(text: str) -> list[ColumnElement[bool]]:
    grams = sorted({gram for run in RUN.findall(text) for gram in phrase_grams(run)})
    return [PostSearch.grams.op("@>", is_comparison=True)(literal(grams, ARRAY(Text)))] if grams else []


def _holds(text: str) -> ColumnElement[bool]:
    narrow = _narrow(text)
    if narrow and len(text) <= 2 and RUN.fullmatch(text):
        return and_(true(), *narrow)
    return and_(*narrow, func.strpos(PostSearch.body, text) > 0)
