"""What a search found, as CSV: same query, same filters, all pages, no cell that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response, StreamingResponse

from console.context import Visit, member
from console.render import page
from console.say import Say
from console.views.search import Ask, ask, need_search, numbers_of, understood
from incidents import lifecycle
from incidents.querylang import Query
from incidents.search import search_incidents, search_posts

router = APIRouter(include_in_schema=False)
#: rows of one export; more is a matter for the command line
EXPORT_LIMIT = 50_000
#: what a spreadsheet would run as a formula
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def guarded(value: object) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = str(value)
    return "'" + text if text.startswith(_FORMULA) else text


def csv_of(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Lines of a CSV file that every spreadsheet opens and none runs."""
    yield "\ufeff"  # Excel takes a file without this mark for GBK
    for row in rows:
        line = io.StringIO()
        csv.writer(line).writerow([guarded(cell) for cell in row])
        yield line.getvalue()


@router.get("/search/export.csv")
def export(here: Annotated[Visit, Depends(member)]) -> Response:
    """Exactly what the page found, as CSV: same query, same filters, all pages."""
    need_search(here)
    wanted = ask(here)
    query, error, _ = understood(here, wanted)
    if query is None:
        return page(here, "error.html", status=422, title=here.t("无法导出"), sentence=error, reference="")
    say = Say(here)
    with here.console.db.transaction() as session:
        lifecycle.record_act(
            session,
            "exported",
            {"kind": wanted.kind, "query": wanted.q[:500]},
            actor=here.account.login,
            channel="console",
            now=here.now,
        )
    rows = (
        _incident_rows(here, say, query, wanted)
        if wanted.kind == "incidents"
        else _post_rows(here, say, query, wanted)
    )
    name = f"quansheng-{wanted.kind}-{say.local(here.now):%Y%m%d-%H%M}.csv"
    return StreamingResponse(
        csv_of(rows),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _post_rows(here: Visit, say: Say, query: Query, wanted: Ask) -> Iterator[Sequence[object]]:
    yield [
        here.t(name)
        for name in (
            "编号",
            "发布时间",
            "信源",
            "标题",
            "正文",
            "链接",
            "领域",
            "区县",
            "情绪",
            "风险",
            "事件",
        )
    ]
    before, written = None, 0
    while written < EXPORT_LIMIT:
        # one short read a page: a slow download must not keep a database snapshot open
        with here.console.db.reading() as session:
            hits = search_posts(
                session, query, filters=wanted.filters, limit=500, before_id=before, counts=False
            )
            numbers = numbers_of(session, hits.rows)
        for row in hits.rows:
            yield [
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
                numbers.get(row.incident_id, "") if row.incident_id is not None else "",
            ]
        written += len(hits.rows)
        before = hits.next_before_id
        if before is None:
            return


def _incident_rows(here: Visit, say: Say, query: Query, wanted: Ask) -> Iterator[Sequence[object]]:
    yield [
        here.t(name)
        for name in (
            "编号",
            "标题",
            "领域",
            "区县",
            "等级",
            "状态",
            "承办部门",
            "帖数",
            "发声人数",
            "首帖时间",
            "发现时间",
            "回应时间",
            "办结时间",
        )
    ]
    before = None
    while True:
        with here.console.db.reading() as session:
            hits = search_incidents(
                session,
                query,
                states=(wanted.state,) if wanted.state else (),
                domain=wanted.domain,
                district=wanted.district,
                hidden=wanted.filters.hidden,
                limit=500,
                before_id=before,
            )
        for row in hits.rows:
            yield [
                row.number,
                row.title,
                say.domain(row.domain),
                row.district,
                say.word("level", row.level),
                say.word("state", row.state),
                say.department(row.department) if row.department else "",
                row.posts,
                row.voices,
                say.full(row.first_posted_at),
                say.full(row.detected_at),
                say.full(row.responded_at),
                say.full(row.closed_at),
            ]
        before = hits.next_before_id
        if before is None:
            return
