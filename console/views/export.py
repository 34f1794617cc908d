"""What a search found, as a file: same query, same filters, all pages, the same number of rows as the page says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import chain
from typing import IO, Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response, StreamingResponse

from console import sheets
from console.context import Visit, member
from console.errors import error_page
from console.render import page
from console.say import Say
from console.views.search import FORMATS, Ask, ask, need_search, numbers_of, understood
from console.watermark import mark
from incidents import lifecycle
from incidents.incident_search import IncidentHits
from incidents.querylang import Query
from incidents.search import PostHit, count_posts, search_posts

router = APIRouter(include_in_schema=False)
_BATCH = 500
_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
}
#: columns for people (CSV, XLSX), and for programs (JSON Lines, Parquet)
_POST_HEAD = (
    ("编号", "id"),
    ("发布时间", "published_at"),
    ("信源", "source"),
    ("标题", "title"),
    ("正文", "text"),
    ("链接", "url"),
    ("领域", "domain"),
    ("区县", "districts"),
    ("情绪", "tone"),
    ("风险", "risk"),
    ("事件", "incident"),
)
_INCIDENT_HEAD = (
    ("编号", "number"),
    ("标题", "title"),
    ("领域", "domain"),
    ("区县", "district"),
    ("等级", "level"),
    ("状态", "state"),
    ("承办部门", "department"),
    ("帖数", "posts"),
    ("发声人数", "voices"),
    ("首帖时间", "first_posted_at"),
    ("发现时间", "detected_at"),
    ("回应时间", "responded_at"),
    ("办结时间", "closed_at"),
)


@router.get("/search/export.{kind}")
def export(here: Annotated[Visit, Depends(member)], kind: str) -> Response:
    """Exactly what the page found: same query, same filters, all pages."""
    need_search(here)
    if kind not in FORMATS:
        return error_page(here.request, 404)
    wanted = ask(here)
    query, error, _ = understood(here, wanted)
    if query is None:
        return page(here, "error.html", status=422, title=here.t("无法导出"), sentence=error, reference="")
    total = _total(here, query, wanted)
    if total > FORMATS[kind]:
        sentence = here.t(
            "找到 {n} 条，{format} 文件最多 {most} 条。请缩小范围，或导出 CSV、JSON Lines。",
            n=total,
            format=kind.upper(),
            most=FORMATS[kind],
        )
        return page(here, "error.html", status=422, title=here.t("无法导出"), sentence=sentence, reference="")
    with here.console.db.transaction() as session:
        taken = lifecycle.record_act(
            session,
            "exported",
            {"kind": wanted.kind, "query": wanted.q[:500], "format": kind, "rows": total},
            actor=here.account.login,
            channel="console",
            now=here.now,
        )
    say = Say(here)
    name = f"quansheng-{wanted.kind}-{say.local(here.now):%Y%m%d-%H%M}.{kind}"
    line = mark(here, taken, here.t("查询“{q}”", q=wanted.q[:200]) if wanted.q else here.t("全部"))
    return StreamingResponse(
        _body(here, say, query, wanted, kind, line),
        media_type=_TYPES[kind],
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Quansheng-Rows": str(total),
        },
    )


def _total(here: Visit, query: Query, wanted: Ask) -> int:
    with here.console.db.reading() as session:
        if wanted.kind == "incidents":
            return _page(here, query, wanted, 0, None, session).total
        return count_posts(session, query, filters=wanted.filters).total


def _body(
    here: Visit, say: Say, query: Query, wanted: Ask, kind: str, mark: str
) -> Iterator[str] | Iterator[bytes]:
    """`mark` is one more cell of the head: no row of data more, and no program trips over it."""
    incidents = wanted.kind == "incidents"
    for_people = kind in ("csv", "xlsx")
    head = [
        here.t(name) if for_people else key for name, key in (_INCIDENT_HEAD if incidents else _POST_HEAD)
    ]
    rows = (
        _incident_rows(here, say, query, wanted, for_people)
        if incidents
        else _post_rows(here, say, query, wanted, for_people)
    )
    if for_people:
        head.append(mark)
    if kind == "csv":
        return sheets.csv_of(chain([head], rows))
    if kind == "jsonl":
        return sheets.json_lines(head, rows)
    stream: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by _read when it was sent)
    if kind == "xlsx":
        sheets.xlsx(stream, head, rows)
    else:
        sheets.parquet(stream, head, rows)
    return _read(stream)


def _read(stream: IO[bytes]) -> Iterator[bytes]:
    with stream:
        stream.seek(0)
        while piece := stream.read(1 << 16):
            yield piece


def _post_rows(
    here: Visit, say: Say, query: Query, wanted: Ask, for_people: bool
) -> Iterator[tuple[object, ...]]:
    before = None
    while True:
        # one short read a page: a slow download must not keep a database snapshot open
        with here.console.db.reading() as session:
            hits = search_posts(
                session, query, filters=wanted.filters, limit=_BATCH, before_id=before, counts=False
            )
            numbers = numbers_of(session, hits.rows)
        for row in hits.rows:
            number = numbers.get(row.incident_id, "") if row.incident_id is not None else ""
            yield _for_people(say, row, number) if for_people else _for_programs(row, number)
        before = hits.next_before_id
        if before is None:
            return


def _for_people(say: Say, row: PostHit, number: str) -> tuple[object, ...]:
    return (
        row.id,
        say.full(row.published_at),
        say.source(row.source_id),
        row.title,
        row.text,
        row.url,
        say.domain(row.domain) if row.domain else "",
        "、".join(row.districts),
        say.word("tone", row.tone),
        row.risk,
        number,
    )


def _for_programs(row: PostHit, number: str) -> tuple[object, ...]:
    return (
        row.id,
        row.published_at.isoformat(),
        row.source_id,
        row.title,
        row.text,
        row.url,
        row.domain,
        "、".join(row.districts),
        row.tone,
        row.risk,
        number,
    )


def _page(
    here: Visit, query: Query, wanted: Ask, limit: int, before: int | None, session: Any
) -> IncidentHits:
    return wanted.asked.incidents(
        session,
        query,
        here.console.zone,
        limit=limit,
        before_id=before,
        up_to_id=wanted.up_to,
        hidden=wanted.filters.hidden,
    )


def _incident_rows(
    here: Visit, say: Say, query: Query, wanted: Ask, for_people: bool
) -> Iterator[tuple[object, ...]]:
    before = None
    while True:
        with here.console.db.reading() as session:
            hits = _page(here, query, wanted, _BATCH, before, session)
        for row in hits.rows:
            times = (row.first_posted_at, row.detected_at, row.responded_at, row.closed_at)
            if for_people:
                words = (
                    say.domain(row.domain),
                    row.district,
                    say.word("level", row.level),
                    say.word("state", row.state),
                    say.department(row.department) if row.department else "",
                )
                shown = [say.full(value) for value in times]
            else:
                words = (row.domain, row.district, row.level, str(row.state), row.department)
                shown = [value.isoformat() if value is not None else "" for value in times]
            yield (row.number, row.title, *words, row.posts, row.voices, *shown)
        before = hits.next_before_id
        if before is None:
            return
