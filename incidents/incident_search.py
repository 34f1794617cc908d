"""Search over incidents: by title, number and fields, with counts. Of source, tone and risk one of its posts must have it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Text, cast, func, select
from sqlalchemy.orm import Session

from incidents.counting import histogram
from incidents.grams import body_of
from incidents.match import combos
from incidents.models import Incident, IncidentPost, PostFacet
from incidents.queries import IncidentView, get_incidents
from incidents.querylang import And, Facts, Field, Node, Not, Or, Query, fields_of, holds, parse

#: what is counted of incidents
FACETS = ("domain", "district", "state", "level", "department")
_OF_POSTS = ("source", "tone", "risk")


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
    statement = select(
        Incident.id,
        Incident.title,
        Incident.number,
        Incident.domain,
        Incident.district,
        Incident.state,
        Incident.level,
        Incident.department,
        _second(session, func.coalesce(Incident.detected_at, Incident.first_posted_at)).label("at"),
    ).order_by(Incident.id.desc())
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
    found = _matching(session, asked.node, list(session.execute(statement)))
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


def _matching(session: Session, node: Node | None, rows: list[Any]) -> list[Any]:
    if node is None:
        return rows
    fields = fields_of(node)
    if not fields:
        return [row for row in rows if holds(node, _comparable(row.title, row.number or ""))]
    with_post = {
        (name, value): _with_post(session, name, value)
        for name, values in _asked_of_posts(node)
        for value in values
    }
    asked = [name for name in ("domain", "district", "state", "level", "department") if name in fields]
    return [
        row
        for row in rows
        if holds(node, _comparable(row.title, row.number or ""), _facts(row, asked, with_post))
    ]


def _facts(row: Any, asked: Sequence[str], with_post: dict[tuple[str, str], set[int]]) -> Facts:
    codes: dict[str, Collection[str]] = {name: (getattr(row, name),) for name in asked}
    for (name, value), ids in with_post.items():
        if row.id in ids:
            codes[name] = (*codes.get(name, ()), value)
    return Facts(codes, (row.at,))


def _with_post(session: Session, name: str, value: str) -> set[int]:
    """Incidents with a post of this source, tone or risk, in themselves or in what was merged into them."""
    query = (
        select(IncidentPost.incident_id)
        .join(PostFacet, PostFacet.post_id == IncidentPost.post_id)
        .where(PostFacet.combo.in_(combos(session, name, (value,))))
    )
    found = set(session.scalars(query.distinct()))
    merged = select(Incident.id, Incident.parent_id).where(Incident.parent_id.is_not(None))
    parents = {row.id: row.parent_id for row in session.execute(merged)}
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
