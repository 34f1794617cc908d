"""Search over incidents: by title, number and fields, with counts. Of source, tone and risk one of its posts must have it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any

from sqlalchemy import BigInteger, Text, cast, func, literal, select
from sqlalchemy.orm import Session

from incidents.chunks import chunks
from incidents.counting import histogram
from incidents.grams import body_of
from incidents.match import combos
from incidents.models import Incident, IncidentPost, PostFacet
from incidents.queries import IncidentView, get_incidents
from incidents.querylang import And, Facts, Field, Node, Not, Or, Query, Term, fields_of, holds, parse

#: what is counted of incidents
FACETS = ("domain", "district", "state", "level", "department")
_OF_POSTS = ("source", "tone", "risk")
#: up to so many incidents are asked for by their ids; more are all asked
_FEW = 2_000


@dataclass(frozen=True)
class IncidentHits:
    """Found incidents, newest first; `next_before_id` asks for the next page.

    `facets`: domain, district, state, level, department -> value -> incidents. `instants`: when each was detected, in seconds since 1970.
    """

    total: int
    rows: list[IncidentView]
    next_before_id: int | None = None
    facets: dict[str, dict[str, int]] = field(default_factory=dict)
    instants: list[int] = field(default_factory=list)
    #: row id of the newest one, 0 when none was found
    newest_id: int = 0


_comparable = lru_cache(maxsize=100_000)(body_of)


def search_incidents(
    session: Session,
    query: Query | str,
    *,
    states: Sequence[str] = (),
    domain: str = "",
    district: str = "",
    department: str = "",
    level: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
    before_id: int | None = None,
    up_to_id: int | None = None,
    hidden: Collection[int] = (),
) -> IncidentHits:
    """Incidents whose title or number has what is asked for; clusters that never emerged only when asked by state.

    `since`/`until` bound the detection, `until` excluded; `hidden` ones are neither shown nor counted. There are few incidents (10^4 to 10^6 a year in a city): their
    titles are read and judged by the query itself.
    """
    asked = parse(query) if isinstance(query, str) else query
    # of the table itself: ten thousand rows cost a third of what they cost through the mapper
    table: Any = Incident.__table__
    statement = select(
        table.c.id,
        table.c.title,
        table.c.number,
        table.c.domain,
        table.c.district,
        table.c.state,
        table.c.level,
        table.c.department,
        _second(session, func.coalesce(table.c.detected_at, table.c.first_posted_at)).label("at"),
    ).order_by(table.c.id.desc())
    if states:
        statement = statement.where(Incident.state.in_([str(state) for state in states]))
    elif not _asks_watching(asked.node):
        statement = statement.where(Incident.state != "watching")
    for column, value in (
        (Incident.domain, domain),
        (Incident.district, district),
        (Incident.department, department),
        (Incident.level, level),
    ):
        if value:
            statement = statement.where(column == value)
    if since is not None:
        statement = statement.where(Incident.detected_at >= since)
    if until is not None:
        statement = statement.where(Incident.detected_at < until)
    if up_to_id is not None:
        statement = statement.where(Incident.id <= up_to_id)
    if hidden:
        statement = statement.where(Incident.id.not_in(hidden))
    session.flush()  # a statement of the table does not ask for it
    found = _matching(session, asked.node, session.execute(statement).all())
    page = [row.id for row in found if before_id is None or row.id < before_id]
    columns = list(zip(*found, strict=True)) if found else [()] * 9
    return IncidentHits(
        len(found),
        _views(session, page[:limit]),
        page[limit - 1] if len(page) > limit else None,
        histogram(columns[3:8], FACETS),
        list(columns[8]),
        found[0].id if found else 0,
    )


def _second(session: Session, value: Any) -> Any:
    """Seconds since 1970 of a time: ten thousand of them are read faster than as times."""
    if session.get_bind().dialect.name == "sqlite":
        return cast(func.strftime("%s", func.substr(value, 1, 19), type_=Text), BigInteger)
    return cast(func.floor(func.extract("epoch", value)), BigInteger)


def _views(session: Session, ids: Sequence[int]) -> list[IncidentView]:
    """A page of incidents, newest first; what was merged into one counts with it."""
    views = {view.id: view for view in get_incidents(session, ids)}
    return [views[id_] for id_ in ids if id_ in views]


def _matching(session: Session, node: Node | None, rows: Sequence[Any]) -> Sequence[Any]:
    if node is None:
        return rows
    rows, bodies, rest = _narrowed(rows, node)
    if rest is None:
        return rows
    fields = fields_of(rest)
    asked = [name for name in FACETS if name in fields]
    of_posts = _asked_of_posts(rest)
    names, ids = [name for name, _ in of_posts], [row.id for row in rows]
    # asked once of a field: any of its values will do, and the first one stands for all
    with_post = {
        (name, values[0]): _with_post(session, name, values, ids)
        for name, wanted in of_posts
        for values in ([wanted] if names.count(name) == 1 else [(value,) for value in wanted])
    }
    return [
        row
        for row, body in zip(rows, bodies, strict=True)
        if holds(rest, body, _facts(row, asked, with_post))
    ]


def _narrowed(rows: Sequence[Any], node: Node) -> tuple[Sequence[Any], list[str], Node | None]:
    """What is left after the words and the incident's own fields that must all hold, and what is still to be asked of it."""
    bodies = [_comparable(row.title, row.number or "") for row in rows]
    rest: list[Node] = []
    for part in node.parts if isinstance(node, And) else (node,):
        match part:
            case Term(word):
                kept = [place for place, body in enumerate(bodies) if word in body]
            case Field(name, values) if name in FACETS:
                wanted, value_of = frozenset(values), attrgetter(name)
                kept = [place for place, row in enumerate(rows) if value_of(row) in wanted]
            case _:
                rest.append(part)
                continue
        rows, bodies = [rows[place] for place in kept], [bodies[place] for place in kept]
    return rows, bodies, (And(tuple(rest)) if rest else None)


def _facts(row: Any, asked: Sequence[str], with_post: dict[tuple[str, str], set[int]]) -> Facts:
    codes: dict[str, Collection[str]] = {name: (getattr(row, name),) for name in asked}
    for (name, value), ids in with_post.items():
        if row.id in ids:
            codes[name] = (*codes.get(name, ()), value)
    return Facts(codes, (row.at,))


def _with_post(session: Session, name: str, values: tuple[str, ...], candidates: Sequence[int]) -> set[int]:
    """Which of these incidents have a post of one of these sources, tones or risks, in themselves or in what was merged into them."""
    merged = select(Incident.id, Incident.parent_id).where(Incident.parent_id.is_not(None))
    parents = {row.id: row.parent_id for row in session.execute(merged)}
    wanted = [*candidates, *parents]
    has_one = (
        select(literal(1))
        .select_from(IncidentPost)
        .join(PostFacet, PostFacet.post_id == IncidentPost.post_id)
        .where(
            IncidentPost.incident_id == Incident.id,
            PostFacet.combo.in_(combos(session, name, values)),
        )
        .exists()
    )
    query = select(Incident.id).where(has_one)
    if len(wanted) <= _FEW:
        found = {
            id_ for part in chunks(wanted) for id_ in session.scalars(query.where(Incident.id.in_(part)))
        }
    else:
        found = set(session.scalars(query))
    for child in list(found):
        parent = parents.get(child)
        while parent is not None and parent not in found:
            found.add(parent)
            parent = parents.get(parent)
    return found


def _asked_of_posts(node: Node) -> list[tuple[str, tuple[str, ...]]]:
    match node:
        case And(parts) | Or(parts):
            return [asked for part in parts for asked in _asked_of_posts(part)]
        case Not(part):
            return _asked_of_posts(part)
        case Field(name, values) if name in _OF_POSTS:
            return [(name, values)]
        case _:
            return []


def _asks_watching(node: Node | None) -> bool:
    match node:
        case And(parts) | Or(parts):
            return any(map(_asks_watching, parts))
        case Field("state", values):
            return "watching" in values
        case _:
            return False
