"""Coverage ledger 覆盖台账: which source saw which incident first, which cells never gave a post, and what nobody watches.

Everything is counted from posts, incidents and source states as they are stored; there is no table of its own. Posts that
retention removed are no longer counted. Hot titles are no posts and play no part.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from statistics import median

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from config.sources import Source
from incidents.chunks import chunks
from incidents.models import FacetCombo, Incident, IncidentPost, Post, PostFacet, SourceState
from incidents.queries import families
from incidents.sources import ANSWERING

#: a cell counts as watched in vain when so many posts were to be expected and none came (chance of that: 5 %)
EXPECTED = 3.0
#: stands for every domain or every district
ANY = ""


# --- who saw what first


@dataclass(frozen=True)
class Sighting:
    """What one source gave to one incident. `posted_at` None: the source tells no times."""

    source_id: str
    posted_at: datetime | None
    collected_at: datetime
    posts: int


@dataclass(frozen=True)
class Entry:
    """One incident with its sources, the first to be collected first. Merged incidents count with their parent."""

    id: int
    number: str
    title: str
    domain: str
    district: str
    detected_at: datetime
    sightings: tuple[Sighting, ...]

    @property
    def first(self) -> Sighting:
        """The source that saw it first."""
        return self.sightings[0]

    @property
    def waited_at_source(self) -> timedelta | None:
        """From posting to our collecting it, at the source that saw it first; None when it tells no times."""
        posted = self.first.posted_at
        return max(timedelta(0), self.first.collected_at - posted) if posted is not None else None

    @property
    def waited_here(self) -> timedelta:
        """From the first collected post to the detection: the system's own part. Zero when a person was quicker."""
        return max(timedelta(0), self.detected_at - self.first.collected_at)


@dataclass(frozen=True)
class SourceLine:
    """One source over the period. Lags are medians; None where there is nothing to measure."""

    source_id: str
    seen: int
    first: int
    only: int  # incidents that no other source saw
    behind: timedelta | None  # after the first source, of those it saw later
    posted_lag: timedelta | None  # from posting to collecting, of its first post of each incident


@dataclass(frozen=True)
class CellLine:
    """One domain and district over the period."""

    domain: str
    district: str
    incidents: int
    sources: int  # that saw at least one of them
    alone: int  # incidents that one source alone saw
    leader: str  # the source that was first most often
    led: int
    waited_at_source: timedelta | None
    waited_here: timedelta


@dataclass(frozen=True)
class Ledger:
    """Incidents detected in the period, newest first, with their sums. `unseen`: without any stored post (raised by hand, or purged)."""

    entries: tuple[Entry, ...]
    sources: tuple[SourceLine, ...]
    cells: tuple[CellLine, ...]
    unseen: int


def ledger(session: Session, since: datetime, until: datetime) -> Ledger:
    """Who saw the incidents detected in [since, until), by the posts collected before `until`."""
    query = select(
        Incident.id,
        Incident.number,
        Incident.title,
        Incident.domain,
        Incident.district,
        Incident.detected_at,
    ).where(
        Incident.number.is_not(None),
        Incident.state != "merged",
        Incident.detected_at >= since,
        Incident.detected_at < until,
    )
    heads = {row.id: row for row in session.execute(query)}
    roots = families(session, heads)
    found: dict[int, dict[str, Sighting]] = defaultdict(dict)
    told = case((Post.published_estimated.is_(False), Post.published_at))
    for chunk in chunks(sorted(roots)):
        seen = (
            select(
                IncidentPost.incident_id,
                Post.source_id,
                func.min(told),
                func.min(Post.fetched_at),
                func.count(),
            )
            .join(Post, Post.id == IncidentPost.post_id)
            .where(IncidentPost.incident_id.in_(chunk), Post.fetched_at < until)
            .group_by(IncidentPost.incident_id, Post.source_id)
        )
        for incident_id, source_id, posted, collected, posts in session.execute(seen):
            mine = Sighting(source_id, posted, collected, posts)
            mates = found[roots[incident_id]]
            held = mates.get(source_id)
            mates[source_id] = mine if held is None else _together(held, mine)
    entries = [
        Entry(
            id=id_,
            number=row.number,
            title=row.title,
            domain=row.domain,
            district=row.district,
            detected_at=row.detected_at,
            sightings=tuple(sorted(found[id_].values(), key=lambda one: (one.collected_at, one.source_id))),
        )
        for id_, row in heads.items()
        if id_ in found
    ]
    entries.sort(key=lambda entry: (entry.detected_at, entry.id), reverse=True)
    return Ledger(tuple(entries), _by_source(entries), _by_cell(entries), len(heads) - len(entries))


def of_incident(session: Session, incident_id: int) -> tuple[Sighting, ...]:
    """The sources of one incident and of those merged into it, the first to be collected first."""
    members, todo = {incident_id}, {incident_id}
    while todo:
        todo = set(session.scalars(select(Incident.id).where(Incident.parent_id.in_(todo)))) - members
        members |= todo
    told = case((Post.published_estimated.is_(False), Post.published_at))
    query = (
        select(Post.source_id, func.min(told), func.min(Post.fetched_at), func.count())
        .join(IncidentPost, IncidentPost.post_id == Post.id)
        .where(IncidentPost.incident_id.in_(members))
        .group_by(Post.source_id)
    )
    rows = [Sighting(*row) for row in session.execute(query)]
    return tuple(sorted(rows, key=lambda one: (one.collected_at, one.source_id)))


def _together(a: Sighting, b: Sighting) -> Sighting:
    posted = min(filter(None, (a.posted_at, b.posted_at)), default=None)
    return Sighting(a.source_id, posted, min(a.collected_at, b.collected_at), a.posts + b.posts)


def _middle(spans: Sequence[timedelta]) -> timedelta | None:
    return timedelta(seconds=median(span.total_seconds() for span in spans)) if spans else None


def _by_source(entries: Iterable[Entry]) -> tuple[SourceLine, ...]:
    seen: Counter[str] = Counter()
    first: Counter[str] = Counter()
    only: Counter[str] = Counter()
    behind: dict[str, list[timedelta]] = defaultdict(list)
    posted: dict[str, list[timedelta]] = defaultdict(list)
    for entry in entries:
        first[entry.first.source_id] += 1
        only[entry.first.source_id] += len(entry.sightings) == 1
        for place, one in enumerate(entry.sightings):
            seen[one.source_id] += 1
            if place:
                behind[one.source_id].append(one.collected_at - entry.first.collected_at)
            if one.posted_at is not None:
                posted[one.source_id].append(max(timedelta(0), one.collected_at - one.posted_at))
    lines = [
        SourceLine(id_, n, first[id_], only[id_], _middle(behind[id_]), _middle(posted[id_]))
        for id_, n in seen.items()
    ]
    return tuple(sorted(lines, key=lambda line: (-line.first, -line.seen, line.source_id)))


def _by_cell(entries: Iterable[Entry]) -> tuple[CellLine, ...]:
    cells: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        cells[entry.domain, entry.district].append(entry)
    lines = []
    for (domain, district), mine in cells.items():
        leaders = Counter(entry.first.source_id for entry in mine)
        leader, led = min(leaders.items(), key=lambda pair: (-pair[1], pair[0]))
        lines.append(
            CellLine(
                domain=domain,
                district=district,
                incidents=len(mine),
                sources=len({one.source_id for entry in mine for one in entry.sightings}),
                alone=sum(len(entry.sightings) == 1 for entry in mine),
                leader=leader,
                led=led,
                waited_at_source=_middle(
                    [entry.waited_at_source for entry in mine if entry.waited_at_source is not None]
                ),
                waited_here=_middle([entry.waited_here for entry in mine]) or timedelta(0),
            )
        )
    return tuple(sorted(lines, key=lambda line: (-line.incidents, line.domain, line.district)))


# --- what gives nothing, and what nobody watches


@dataclass(frozen=True)
class Zero:
    """A cell that a source has watched for `weeks` weeks without one relevant post.

    Domain or district ANY: none of them. `expected` posts by what the source gives elsewhere and what the city's other sources
    give in this cell; None when it gives nothing of what it is read for. `claimed`: the source was set up for this very cell.
    """

    source_id: str
    domain: str
    district: str
    weeks: int
    expected: float | None
    claimed: bool


@dataclass(frozen=True)
class MapCell:
    """Who watches one domain in one district: sources set up for it, general ones, how many of both work now; and what came of it."""

    domain: str
    district: str
    own: int
    general: int
    working: int
    posts: int

    @property
    def state(self) -> str:
        """blind: no source covers it | dark: all that cover it are in trouble | general: none was set up for it | watched."""
        if not self.own + self.general:
            return "blind"
        if not self.working:
            return "dark"
        return "watched" if self.own else "general"


@dataclass(frozen=True)
class Watch:
    """The map of what is watched, and where watching is in vain."""

    cells: tuple[MapCell, ...]
    zeros: tuple[Zero, ...]

    def of(self, state: str) -> int:
        """How many cells are in this state."""
        return sum(cell.state == state for cell in self.cells)


def watch(
    session: Session,
    sources: Sequence[Source],
    domains: Sequence[str],
    districts: Sequence[str],
    now: datetime,
    weeks: int,
) -> Watch:
    """The watched domains by district, from the source definitions and the posts of the last `weeks` weeks."""
    given = _given(session, domains, now - timedelta(weeks=weeks), now)
    enabled = [source for source in sources if source.enabled]
    state = {row[0]: row[1] for row in session.execute(select(SourceState.source_id, SourceState.state))}
    began = _began(session)
    total: Counter[tuple[str, str]] = Counter()
    for counts in given.values():
        total.update(counts)
    # sources by what they were set up for: 10,000 of them share a few dozen pairs
    kinds = Counter((source.domain_hint, source.district_hint) for source in enabled)
    well = Counter(
        (source.domain_hint, source.district_hint)
        for source in enabled
        if state.get(source.id, "new") in (*ANSWERING, "new")
    )
    cells = []
    for domain, district in product(domains, districts):
        pairs = [(d, p) for d, p in kinds if d in (ANY, domain) and p in (ANY, district)]
        cells.append(
            MapCell(
                domain=domain,
                district=district,
                own=sum(kinds[pair] for pair in pairs if pair != (ANY, ANY)),
                general=kinds[ANY, ANY],
                working=sum(well[pair] for pair in pairs),
                posts=total[domain, district],
            )
        )
    zeros: list[Zero] = []
    for source in enabled:
        start = began.get(source.id)
        if start is not None and now - start >= timedelta(weeks=weeks):
            zeros += _zeros(source, given.get(source.id, Counter()), total, domains, districts, weeks)
    zeros.sort(
        key=lambda zero: (
            not zero.claimed,
            zero.expected is not None,
            -(zero.expected or 0),
            zero.source_id,
            zero.domain,
            zero.district,
        )
    )
    return Watch(tuple(cells), tuple(zeros))


def _given(
    session: Session, domains: Sequence[str], since: datetime, until: datetime
) -> dict[str, Counter[tuple[str, str]]]:
    """Relevant posts of each source by (domain, district), (domain, ANY), (ANY, district) and (ANY, ANY); near-copies count."""
    # by the combinations that searches count with: three numbers a post instead of its judgement
    query = (
        select(FacetCombo.source_id, FacetCombo.domain, FacetCombo.districts, func.count())
        .join(PostFacet, PostFacet.combo == FacetCombo.id)
        .join(Post, Post.id == PostFacet.post_id)
        .where(Post.fetched_at >= since, Post.fetched_at < until, FacetCombo.domain.in_(list(domains)))
        .group_by(FacetCombo.id)
    )
    found: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for source_id, domain, places, posts in session.execute(query):
        mine = found[source_id]
        mine[ANY, ANY] += posts
        mine[domain, ANY] += posts
        for place in set(places or ()):
            mine[domain, place] += posts
            mine[ANY, place] += posts
    return found


def _began(session: Session) -> dict[str, datetime]:
    """When each source was first read well; the history itself stays in the database."""
    first = SourceState.cursor["health"]["first"].as_string()
    rows = session.execute(select(SourceState.source_id, first).where(first.is_not(None), first != ""))
    return {row[0]: datetime.fromisoformat(row[1]) for row in rows}


def _zeros(
    source: Source,
    mine: Counter[tuple[str, str]],
    total: Counter[tuple[str, str]],
    domains: Sequence[str],
    districts: Sequence[str],
    weeks: int,
) -> Iterable[Zero]:
    """The widest cells without a post: a silent source, else its silent domains and districts, else single cells."""
    hinted = source.domain_hint if source.domain_hint in domains else ANY
    if source.domain_hint and not hinted:
        return  # set up for a subject that is not watched
    place = source.district_hint if source.district_hint in districts else ANY
    if not mine[hinted, place]:
        yield Zero(source.id, hinted, place, weeks, None, bool(hinted or place))
        return
    own = [hinted] if hinted else list(domains)
    where = [place] if place else list(districts)
    rest = total.copy()
    rest.subtract(mine)
    whole = rest[ANY, ANY]

    def expected(domain: str, district: str) -> float:
        if whole <= 0:
            return 0.0
        # of what the source gives inside its own hints, the part that other sources have in this cell
        base = rest[hinted, place] or whole
        return mine[hinted, place] * rest[domain, district] / base

    silent: set[tuple[str, str]] = set()
    wide = [(domain, place) for domain in own] + [(hinted, district) for district in where]
    for domain, district in [*wide, *product(own, where)]:
        if mine[domain, district] or (domain, place) in silent or (hinted, district) in silent:
            continue
        wanted = expected(domain, district)
        if wanted >= EXPECTED:
            silent.add((domain, district))
            yield Zero(source.id, domain, district, weeks, round(wanted, 1), False)
