"""Search over posts and incidents: query language, filters, counts, timeline, facets, export. Every view is a link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from config.domains import IDS
from console.context import Visit, clean, member
from console.render import page
from console.rights import MASKED, hidden, need_all, need_posts
from console.words import STATES
from incidents import labels, lifecycle, queries
from incidents.fields import names_of
from incidents.querylang import And, Near, Node, Or, Query, QueryError, Term, parse
from incidents.search import IncidentHits, PostFilter, PostHit, PostHits, search_incidents, search_posts
from incidents.session import Session

router = APIRouter(include_in_schema=False)
PAGE = 50


@dataclass(frozen=True)
class Ask:
    """What the address asks for. Wrong dates are `problems`, not errors."""

    kind: str
    q: str
    domain: str
    district: str
    source: str
    tone: str
    state: str
    since: str
    until: str
    incident: str
    before: int | None
    filters: PostFilter
    problems: tuple[str, ...]


def ask(here: Visit) -> Ask:
    """Dependency-free reading of the query string, so that any address can be opened."""
    get = here.request.query_params.get
    # whoever does not read the words of posts must not find out by searching what stands in them
    only_incidents = here.account.role in MASKED and get("kind") is None
    problems: list[str] = []

    def text(name: str) -> str:
        return clean(get(name) or "")[:600]

    def day(name: str, *, end: bool = False) -> datetime | None:
        raw = text(name)
        if not raw:
            return None
        try:
            found = date.fromisoformat(raw)
            return datetime.combine(found + timedelta(days=1) if end else found, time(), here.console.zone)
        except (ValueError, OverflowError):
            problems.append(here.t("日期“{raw}”不对，应为 2026-11-24 这样的格式。", raw=raw))
            return None

    try:
        before = int(text("before")) if text("before") else None
    except ValueError:
        before = None
    if before is not None and not 0 < before < 2**62:
        before = None
    filters = PostFilter(
        domain=text("domain"),
        district=text("district"),
        source=text("source"),
        tone=text("tone"),
        since=day("since"),
        until=day("until", end=True),
        incident_id=_incident_id(here, text("incident")) if text("incident") else None,
        hidden=hidden(here),
    )
    return Ask(
        kind="incidents" if text("kind") == "incidents" or only_incidents else "posts",
        q=text("q"),
        domain=filters.domain,
        district=filters.district,
        source=filters.source,
        tone=filters.tone,
        state=text("state"),
        since=text("since"),
        until=text("until"),
        incident=text("incident"),
        before=before,
        filters=filters,
        problems=tuple(problems),
    )


def _incident_id(here: Visit, number: str) -> int:
    """Row id of an incident; an unknown number finds nothing instead of everything."""
    with here.console.db.reading() as session:
        found = queries.get_incident(session, number)
    return found.id if found is not None and found.id not in hidden(here) else -1


def needles(node: Node | None) -> list[str]:
    """Words to mark in a found text (those that are asked for, not those that are excluded)."""
    match node:
        case Term(text):
            return [text]
        case Near(left, right):
            return [left.text, right.text]
        case And(parts) | Or(parts):
            return [word for part in parts for word in needles(part)]
        case _:
            return []


def understood(here: Visit, wanted: Ask) -> tuple[Query | None, str, str]:
    """The parsed query, or the sentence of its mistake and a line that points at the place."""
    try:
        return parse(wanted.q, names_of(here.console.bundle, here.now)), "", ""
    except QueryError as wrong:
        return None, here.t(wrong.template, **wrong.values), wrong.pointer


def _record_search(here: Visit, wanted: Ask, total: int) -> None:
    with here.console.db.transaction() as session:
        lifecycle.record_act(
            session,
            "posts_searched",
            {"query": wanted.q[:500], "found": total},
            actor=here.account.login,
            channel="console",
            now=here.now,
        )


def need_search(here: Visit) -> None:
    """Incidents are searched by everybody but clerks, posts only by those who read their words."""
    if here.request.query_params.get("kind") in (None, "incidents") and here.account.role in MASKED:
        need_all(here)
    else:
        need_posts(here)


@router.get("/search")
def search_page(here: Annotated[Visit, Depends(member)]) -> Response:
    """The search page. A query that cannot be understood is explained, not refused with an error page."""
    need_search(here)
    wanted = ask(here)
    query, error, pointer = understood(here, wanted)
    values: dict[str, Any] = {
        "ask": wanted,
        "error": error,
        "pointer": pointer,
        "hits": None,
        "chart": None,
        "numbers": {},
        "said": {},
        "done": here.done,
        "needles": needles(query.node) if query else [],
        "districts": here.console.bundle.places.names,
        "domains": IDS,
        "states": [code for code in STATES if code != "watching"],
        "export": "/search/export.csv?"
        + urlencode(
            [item for item in here.request.query_params.multi_items() if item[0] not in ("before", "lang")]
        ),
    }
    if query is not None and wanted.kind == "incidents":
        with here.console.db.reading() as session:
            values["hits"] = _incidents(session, query, wanted)
    elif query is not None:
        zone = here.console.bundle.settings.city.timezone
        with here.console.db.reading() as session:
            hits = search_posts(
                session, query, filters=wanted.filters, limit=PAGE, before_id=wanted.before, zone=zone
            )
            values["numbers"] = numbers_of(session, hits.rows)
            values["said"] = labels.latest(session, [row.id for row in hits.rows])
        values |= {"hits": hits, "chart": _chart(hits)}
        if hits.rows:
            _record_search(here, wanted, hits.total)
    return page(here, "search.html", status=422 if error else 200, **values)


def _incidents(session: Session, query: Query, wanted: Ask) -> IncidentHits:
    return search_incidents(
        session,
        query,
        states=(wanted.state,) if wanted.state else (),
        domain=wanted.domain,
        district=wanted.district,
        hidden=wanted.filters.hidden,
        limit=PAGE,
        before_id=wanted.before,
    )


def numbers_of(session: Session, rows: Sequence[PostHit]) -> dict[int, str]:
    """Numbers of the incidents of found posts; clusters that never emerged have none."""
    found = {}
    for id_ in {row.incident_id for row in rows if row.incident_id is not None}:
        incident = queries.get_incident(session, id_)
        if incident is not None and incident.number:
            found[id_] = incident.number
    return found


def _chart(hits: PostHits) -> dict[str, Any]:
    """Bars of the timeline: by day up to 120 days, by month beyond; empty bars included."""
    days = hits.timeline
    if not days:
        return {"unit": "day", "labels": [], "values": []}
    counts: dict[str, int] = {}
    first, last = days[0][0], days[-1][0]
    if (last - first).days <= 120:
        for offset in range((last - first).days + 1):
            counts[(first + timedelta(days=offset)).isoformat()] = 0
        for day, number in days:
            counts[day.isoformat()] += number
        return {"unit": "day", "labels": list(counts), "values": list(counts.values())}
    for day, number in days:
        counts[f"{day:%Y-%m}"] = counts.get(f"{day:%Y-%m}", 0) + number
    return {"unit": "month", "labels": list(counts), "values": list(counts.values())}
