"""One search as its address says it: kind, words and filters. The same for a page, an export, a saved search and its alert."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, tzinfo

from sqlalchemy.orm import Session

from incidents.counting import Counted
from incidents.incident_search import IncidentHits, search_incidents
from incidents.queries import get_incident
from incidents.querylang import Query
from incidents.search import PostFilter, count_posts

#: what an address may hold, in the order in which it is written
KEYS = (
    "kind",
    "q",
    "domain",
    "district",
    "source",
    "tone",
    "risk",
    "state",
    "level",
    "department",
    "since",
    "until",
    "incident",
)
_LONGEST = 600


@dataclass(frozen=True)
class Asked:
    """What is searched for. `since` and `until` are local days (the last one included) or minutes (excluded)."""

    kind: str = "posts"
    q: str = ""
    domain: str = ""
    district: str = ""
    source: str = ""
    tone: str = ""
    risk: str = ""
    state: str = ""
    level: str = ""
    department: str = ""
    since: str = ""
    until: str = ""
    incident: str = ""
    #: dates that are none; they bound nothing
    wrong_dates: tuple[str, ...] = field(default=(), compare=False)

    @property
    def values(self) -> dict[str, str]:
        """What is not empty, for an address or a row."""
        return {key: getattr(self, key) for key in KEYS if getattr(self, key)}

    def bounds(self, zone: tzinfo) -> tuple[datetime | None, datetime | None]:
        """First instant, and the first one behind the last."""
        return _instant(self.since, zone, end=False), _instant(self.until, zone, end=True)

    def filters(self, session: Session, zone: tzinfo, up_to_id: int | None = None) -> PostFilter:
        """The filter of a search over posts; an incident number that is unknown finds nothing instead of everything."""
        since, until = self.bounds(zone)
        incident = get_incident(session, self.incident) if self.incident else None
        return PostFilter(
            domain=self.domain,
            district=self.district,
            source=self.source,
            tone=self.tone,
            risk=self.risk,
            state=self.state,
            level=self.level,
            department=self.department,
            since=since,
            until=until,
            incident_id=(incident.id if incident is not None else -1) if self.incident else None,
            up_to_id=up_to_id,
        )

    def incidents(
        self,
        session: Session,
        query: Query,
        zone: tzinfo,
        *,
        limit: int,
        before_id: int | None = None,
        up_to_id: int | None = None,
        hidden: Collection[int] = (),
    ) -> IncidentHits:
        """The search over incidents."""
        since, until = self.bounds(zone)
        return search_incidents(
            session,
            query,
            states=(self.state,) if self.state else (),
            domain=self.domain,
            district=self.district,
            level=self.level,
            department=self.department,
            since=since,
            until=until,
            limit=limit,
            before_id=before_id,
            up_to_id=up_to_id,
            hidden=hidden,
        )

    def count(
        self,
        session: Session,
        query: Query,
        zone: tzinfo,
        *,
        cap: int | None = None,
        hidden: frozenset[int] = frozenset(),
    ) -> Counted:
        """The posts that are found, counted."""
        filters = replace(self.filters(session, zone), hidden=hidden)
        return count_posts(session, query, filters=filters, cap=cap)


def read_asked(values: Mapping[str, str], zone: tzinfo) -> Asked:
    """What an address or a row says. Nothing in it is refused: wrong dates are told, wrong codes find nothing."""
    given = {key: (values.get(key) or "").replace("\x00", "").strip()[:_LONGEST] for key in KEYS}
    given["kind"] = "incidents" if given["kind"] == "incidents" else "posts"
    if given["risk"] not in ("0", "1", "2", "3"):
        given["risk"] = ""
    wrong = []
    for key in ("since", "until"):
        try:
            _instant(given[key], zone, end=key == "until")
        except (ValueError, OverflowError):
            wrong.append(given[key])
            given[key] = ""
    return Asked(**given, wrong_dates=tuple(wrong))


def _instant(raw: str, zone: tzinfo, *, end: bool) -> datetime | None:
    if not raw:
        return None
    if "T" in raw:
        found = datetime.fromisoformat(raw)
        found = found.replace(tzinfo=zone) if found.tzinfo is None else found
        found.timestamp()  # a year that no clock reaches is no time
        return found
    day = date.fromisoformat(raw)
    found = datetime.combine(day + timedelta(days=1) if end else day, time(), zone)
    found.timestamp()
    return found
