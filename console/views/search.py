"""Search over posts and incidents: query language, filters, counts, timeline, facets. Every view is a link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from config.domains import IDS
from console import timeline
from console.context import Visit, clean, member
from console.render import page
from console.rights import MASKED, hidden, need_all, need_posts
from console.say import Say
from console.words import LEVELS, STATES
from incidents import labels, looks, queries
from incidents.asked import Asked, read_asked
from incidents.counting import UNITS
from incidents.fields import names_of
from incidents.querylang import And, Near, Node, Or, Query, QueryError, Term, parse
from incidents.search import CAP, PostFilter, PostHit, search_posts
from incidents.session import Session

router = APIRouter(include_in_schema=False)
PAGE = 50
#: values of one facet that are shown
SHOWN = 12
#: files that an export may be, and the most rows of each; what is more is refused, never cut
FORMATS = {"csv": 1_000_000, "jsonl": 1_000_000, "xlsx": 50_000, "parquet": 200_000}
POST_FACETS = (
    ("domain", "领域"),
    ("district", "区县"),
    ("source", "信源"),
    ("tone", "情绪"),
    ("risk", "风险"),
)
INCIDENT_FACETS = (
    ("state", "状态"),
    ("level", "等级"),
    ("domain", "领域"),
    ("district", "区县"),
    ("department", "承办部门"),
)
#: parts of an address that ask nothing
_NO_QUESTION = frozenset({"before", "lang", "done", "n"})


@dataclass(frozen=True)
class Ask:
    """What the address asks for. Wrong dates are `problems`, not errors."""

    asked: Asked
    unit: str
    before: int | None
    #: nothing saved later is counted: links to files carry it, so that they hold what was shown
    up_to: int | None
    #: count everything, however much it is
    whole: bool
    filters: PostFilter
    problems: tuple[str, ...]

    @property
    def kind(self) -> str:
        """posts or incidents."""
        return self.asked.kind

    @property
    def q(self) -> str:
        """The words."""
        return self.asked.q


@dataclass(frozen=True)
class FacetRow:
    """One value of a facet; `href` narrows to it, or takes it away again when it is chosen."""

    label: str
    count: int
    chosen: bool
    href: str


def ask(here: Visit) -> Ask:
    """Dependency-free reading of the query string, so that any address can be opened."""
    given = dict(here.request.query_params)
    # whoever does not read the words of posts must not find out by searching what stands in them
    if here.account.role in MASKED:
        given["kind"] = "incidents"
    return read(here, given)


def read(here: Visit, given: dict[str, str]) -> Ask:
    """The same of any such fields, for the person who asks."""
    zone = here.console.zone
    asked = read_asked(given, zone)
    with here.console.db.reading() as session:
        filters = asked.filters(session, zone, _number(given.get("upto", "")))
    return Ask(
        asked=asked,
        unit=given.get("unit", "") if given.get("unit") in UNITS else "",
        before=_number(given.get("before", "")),
        up_to=filters.up_to_id,
        whole=given.get("all") == "1",
        filters=seen_by(here, filters),
        problems=tuple(
            here.t("日期“{raw}”不对，应为 2026-11-24 这样的格式。", raw=raw) for raw in asked.wrong_dates
        ),
    )


def seen_by(here: Visit, filters: PostFilter) -> PostFilter:
    """The filter without what the person must not see."""
    secret = hidden(here)
    within = -1 if filters.incident_id in secret else filters.incident_id
    return replace(filters, hidden=secret, incident_id=within)


def _number(raw: str) -> int | None:
    try:
        number = int(clean(raw)[:20])
    except ValueError:
        return None
    return number if 0 < number < 2**62 else None


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


def record_search(here: Visit, wanted: Ask, total: int) -> None:
    """One event an hour for a person and a question; turning its pages is no new question."""
    asked = sorted(item for item in here.request.query_params.multi_items() if item[0] not in _NO_QUESTION)
    looks.note(
        here.console.db,
        "posts_searched",
        {"query": wanted.q[:500], "found": total},
        about=urlencode(asked),
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


def address(asked: Asked, path: str = "/search", **more: str | int | None) -> str:
    """The permalink of a search: all of its state and nothing of the person's."""
    values = asked.values | {key: str(value) for key, value in more.items() if value}
    return f"{path}?{urlencode(values)}" if values else path


@router.get("/search")
def search_page(here: Annotated[Visit, Depends(member)]) -> Response:
    """The search page. A query that cannot be understood is explained, not refused with an error page."""
    need_search(here)
    wanted = ask(here)
    query, error, pointer = understood(here, wanted)
    say = Say(here)
    values: dict[str, Any] = {
        "ask": wanted,
        "asked": wanted.asked,
        "error": error,
        "pointer": pointer,
        "hits": None,
        "chart": None,
        "facets": [],
        "numbers": {},
        "said": {},
        "done": here.done,
        "needles": needles(query.node) if query else [],
        "districts": here.console.bundle.places.names,
        "departments": here.console.bundle.departments.departments,
        "domains": IDS,
        "levels": list(LEVELS),
        "states": [code for code in STATES if code != "watching"],
        "files": [],
        "units": UNITS,
        "plainly": str,
        "word_of": lambda table: lambda code: say.word(table, code),
        "label_of": lambda name, code: code if name in ("since", "until") else label(say, name, code),
        "may_save": here.account.role not in MASKED,
        "sample": address(wanted.asked, "/search/sample", seed=1),
        "compare": address(wanted.asked, "/search/compare"),
        "permalink": address(wanted.asked, unit=wanted.unit),
    }
    if query is not None and wanted.kind == "incidents":
        values |= _incidents(here, query, wanted)
    elif query is not None:
        values |= _posts(here, query, wanted)
    return page(here, "search.html", status=422 if error else 200, **values)


def _posts(here: Visit, query: Query, wanted: Ask) -> dict[str, Any]:
    zone = here.console.zone
    with here.console.db.reading() as session:
        hits = search_posts(
            session,
            query,
            filters=wanted.filters,
            limit=PAGE,
            before_id=wanted.before,
            cap=None if wanted.whole else CAP,
            zone=str(zone),
        )
        numbers = numbers_of(session, hits.rows)
        said = labels.latest(session, [row.id for row in hits.rows])
    if hits.rows:
        record_search(here, wanted, hits.total)
    found = hits.counted
    assert found is not None
    newest = int(found.ids[0]) if found.total else 0
    return {
        "hits": hits,
        "numbers": numbers,
        "said": said,
        "chart": timeline.drawn(
            lambda unit: found.timeline(zone, unit), wanted.unit, wanted.asked.since, wanted.asked.until
        ),
        "facets": facets(here, wanted, hits.facets, POST_FACETS),
        "files": files(wanted, hits.total, hits.capped, newest),
        "newest": newest,
    }


def _incidents(here: Visit, query: Query, wanted: Ask) -> dict[str, Any]:
    zone = here.console.zone
    with here.console.db.reading() as session:
        hits = wanted.asked.incidents(
            session,
            query,
            zone,
            limit=PAGE,
            before_id=wanted.before,
            up_to_id=wanted.up_to,
            hidden=wanted.filters.hidden,
        )
    return {
        "hits": hits,
        "chart": timeline.drawn(
            lambda unit: timeline.counted(hits.instants, zone, unit),
            wanted.unit,
            wanted.asked.since,
            wanted.asked.until,
        ),
        "facets": facets(here, wanted, hits.facets, INCIDENT_FACETS),
        "files": files(wanted, hits.total, False, hits.newest_id),
        "newest": hits.newest_id,
    }


def facets(
    here: Visit, wanted: Ask, counts: dict[str, dict[str, int]], names: Sequence[tuple[str, str]]
) -> list[tuple[str, list[FacetRow], int]]:
    """Title, values and how many values are not shown, of every field that something was found in."""
    say, shown = Say(here), []
    for name, title in names:
        chosen = getattr(wanted.asked, name)
        rows = [
            FacetRow(
                label(say, name, code),
                count,
                chosen == code and code != "",
                here_with(wanted, **{name: None if chosen == code else code}),
            )
            for code, count in counts.get(name, {}).items()
            # posts without a district, incidents without a department: nothing to narrow to
            if code or name == "tone"
        ]
        if rows:
            shown.append((here.t(title), rows[:SHOWN], max(len(rows) - SHOWN, 0)))
    return shown


def label(say: Say, name: str, code: str) -> str:
    """What a value of a field is called."""
    if name == "domain":
        return say.domain(code) if code else say.word("tone", "")
    if name == "source":
        return say.source(code)
    if name == "department":
        return say.department(code)
    if name == "risk":
        return say.word("risk", int(code))
    return code if name == "district" else say.word(name, code)


def here_with(wanted: Ask, **change: str | None) -> str:
    """The same search with some fields changed, from its first page."""
    values = wanted.asked.values | ({"unit": wanted.unit} if wanted.unit else {})
    values |= {"all": "1"} if wanted.whole else {}
    for key, value in change.items():
        values.pop(key, None)
        if value:
            values[key] = value
    return f"/search?{urlencode(values)}"


def files(wanted: Ask, total: int, capped: bool, newest: int) -> list[tuple[str, str]]:
    """Name and address of each file that can hold what was found."""
    if not total:
        return []
    return [
        (
            kind.upper() if kind != "parquet" else "Parquet",
            address(wanted.asked, f"/search/export.{kind}", upto=newest),
        )
        for kind, most in FORMATS.items()
        if total <= most and not (capped and kind == "xlsx")
    ]


def numbers_of(session: Session, rows: Sequence[PostHit]) -> dict[int, str]:
    """Numbers of the incidents of found posts; clusters that never emerged have none."""
    return queries.numbers_of(session, {row.incident_id for row in rows if row.incident_id is not None})
