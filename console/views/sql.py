"""SQL 查询: an analyst's page over the de-identified copy: examples, the tables, the answer as a table and as CSV."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse

from console.api.problems import ApiProblem
from console.api.sql import LONGEST, copy_of, run
from console.context import Forbidden, Visit, clean, member
from console.forms import Posted, own_form
from console.render import page
from console.say import Say
from console.sheets import csv_of
from console.watermark import mark
from incidents import snapshot
from incidents.analysts_sql import SqlAnswer
from incidents.api_tokens import SCOPES
from incidents.states import Refused

router = APIRouter(include_in_schema=False)
#: rows shown on the page; the file has all that one answer may have
SHOWN = 200
#: name -> query; each is run by a test
EXAMPLES = {
    "posts_by_day": """SELECT day, domain, count(*) AS posts, sum(tone = 'neg') AS negative
FROM post
WHERE day >= date('now', '-30 days') AND domain <> 'none'
GROUP BY day, domain ORDER BY day DESC, posts DESC""",
    "met_by_department": """SELECT d.name, count(*) AS clocks, sum(c.state = 'met') AS met,
       round(100.0 * sum(c.state = 'met') / count(*), 1) AS percent
FROM clock c JOIN incident i ON i.number = c.incident JOIN department d ON d.id = i.department
WHERE c.state IN ('met', 'missed')
GROUP BY d.name ORDER BY clocks DESC""",
    "hours_by_district": """SELECT district, count(*) AS incidents,
       round(avg((julianday(responded_at) - julianday(detected_at)) * 24), 1) AS hours
FROM incident WHERE responded_at IS NOT NULL
GROUP BY district ORDER BY hours DESC""",
    "first_sources": """SELECT source, count(*) AS first
FROM (SELECT incident, source, row_number() OVER (PARTITION BY incident ORDER BY hour, id) AS place
      FROM post WHERE incident IS NOT NULL)
WHERE place = 1 GROUP BY source ORDER BY first DESC""",
    "false_alarms": """SELECT domain, count(*) AS incidents, sum(state = 'false_alarm') AS false_alarms
FROM incident GROUP BY domain ORDER BY incidents DESC""",
}


def asker(here: Annotated[Visit, Depends(member)]) -> Visit:
    """Dependency: SQL is on, and the person may ask by it."""
    if here.account.role not in SCOPES["sql"]:
        raise Forbidden("SQL 查询只对分析和管理人员开放。")
    if not here.console.bundle.settings.api.sql:
        raise Forbidden("SQL 查询没有开启（api.sql），请与管理员联系。")
    return here


def _show(
    here: Visit,
    sql: str,
    *,
    answer: SqlAnswer | None = None,
    took: int = 0,
    error: str = "",
    status: int = 200,
) -> Response:
    return page(
        here,
        "sql.html",
        status=status,
        sql=sql,
        answer=answer,
        took=took,
        error=error,
        shown=SHOWN,
        examples=EXAMPLES,
        schema=snapshot.SCHEMA,
        made_at=snapshot.made_at(copy_of(here)),
        limits=here.console.bundle.settings.api,
    )


@router.get("/sql")
def sql_page(here: Annotated[Visit, Depends(asker)], sql: str = "") -> Response:
    """The page; `sql` of the address is filled in and not run, so that a link can be sent to a colleague."""
    return _show(here, clean(sql)[:LONGEST])


@router.post("/sql")
def ask(
    request: Request, here: Annotated[Visit, Depends(asker)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Run it and show the rows, or send them as CSV."""
    sql = form.text("sql", LONGEST)
    try:
        ran = run(request, here, sql, "console")
    except Refused as refused:
        return _show(here, sql, error=refused.en if here.lang == "en" else refused.zh, status=422)
    except ApiProblem as problem:
        return _show(here, sql, error=here.t(problem.msgid, **problem.values), status=problem.status)
    if form.get("as") == "csv":
        name = f"quansheng-sql-{Say(here).local(here.now):%Y%m%d-%H%M}.csv"
        # one more cell of the head says who took it: no row of data more
        head = [*ran.answer.columns, mark(here, ran.event, here.t("SQL 查询"))]
        cells = (["" if cell is None else cell for cell in row] for row in [head, *ran.answer.rows])
        return StreamingResponse(
            csv_of(cells),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
    return _show(here, sql, answer=ran.answer, took=ran.took_ms)
