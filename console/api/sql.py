"""SQL of analysts through the API: what may be asked, and asking it. Off unless `api.sql` is on; every query stands in the record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import BoundedSemaphore
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from console.api.caller import Tagged, need, needs
from console.api.incidents import by_token
from console.api.problems import RESPONSES, ApiProblem
from console.context import Visit
from incidents import analysts_sql, lifecycle, snapshot
from incidents.analysts_sql import SqlAnswer
from incidents.models import IncidentEvent
from incidents.states import Refused

router = APIRouter(prefix="/api/sql", tags=["sql"], route_class=Tagged, responses=RESPONSES)
#: queries at the same time; each has a process and a core to itself
AT_ONCE = 2
#: characters of one query
LONGEST = 20_000


class ColumnOut(BaseModel):
    """One column of the copy."""

    name: str
    type: str
    meaning: str


class TableOut(BaseModel):
    """One table of the copy."""

    name: str
    meaning: str
    columns: list[ColumnOut]


class SchemaOut(BaseModel):
    """What may be asked, and the limits of one query."""

    made_at: datetime | None = Field(description="when the copy was made; null: not yet")
    refresh_min: int
    seconds: float
    rows: int
    memory_mb: int
    tables: list[TableOut]


class Question(BaseModel):
    """One SELECT."""

    sql: str = Field(max_length=LONGEST)


class Rows(BaseModel):
    """The answer of one query."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    more: bool = Field(description="there were more rows than one answer may have")
    made_at: datetime = Field(description="when the copy was made that was asked")
    took_ms: int


def copy_of(here: Visit) -> Path:
    """Where the de-identified copy lies."""
    return here.console.bundle.settings.data_path / snapshot.NAME


def need_sql(here: Visit) -> None:
    """Raises ApiProblem 403 unless SQL is on and the caller may ask by it."""
    need(here, "sql")
    if not here.console.bundle.settings.api.sql:
        raise ApiProblem(403, "SQL 查询没有开启（api.sql），请与管理员联系。")


@dataclass(frozen=True)
class Ran:
    """One query that ran: its answer, its milliseconds, and its event in the record."""

    answer: SqlAnswer
    took_ms: int
    event: IncidentEvent


def run(request: Request, here: Visit, sql: str, channel: str) -> Ran:
    """Ask, and write down who asked what with which outcome.

    Raises incidents.states.Refused with a sentence, ApiProblem 503 when too many ask at once.
    """
    limits = here.console.bundle.settings.api
    gate: BoundedSemaphore = request.app.state.sql_gate
    if not gate.acquire(blocking=False):
        raise ApiProblem(503, "已有 {n} 条查询在执行，请稍后再试。", n=AT_ONCE, headers={"Retry-After": "5"})
    began = time.monotonic()
    try:
        answer = analysts_sql.ask(
            copy_of(here),
            sql,
            rows=limits.sql_rows,
            seconds=limits.sql_seconds,
            memory_mb=limits.sql_memory_mb,
        )
    except Refused as refused:
        _record(here, sql, refused.en[:200], channel)
        raise
    except Exception:
        _record(here, sql, "failed", channel)
        raise
    finally:
        gate.release()
    event = _record(here, sql, f"{len(answer.rows)} rows", channel)
    return Ran(answer, round((time.monotonic() - began) * 1000), event)


def _record(here: Visit, sql: str, outcome: str, channel: str) -> IncidentEvent:
    with here.console.db.transaction() as session:
        return lifecycle.record_act(
            session,
            "sql_asked",
            {"sql": sql[:LONGEST].replace("\x00", ""), "outcome": outcome, **by_token(here)},
            actor=here.account.login,
            channel=channel,
            now=here.now,
        )


@router.get("/schema")
def sql_schema(here: Annotated[Visit, Depends(needs("sql"))]) -> SchemaOut:
    """Tables and columns of the de-identified copy, when it was made, and the limits of one query."""
    need_sql(here)
    limits = here.console.bundle.settings.api
    return SchemaOut(
        made_at=snapshot.made_at(copy_of(here)),
        refresh_min=limits.sql_refresh_min,
        seconds=limits.sql_seconds,
        rows=limits.sql_rows,
        memory_mb=limits.sql_memory_mb,
        tables=[
            TableOut(
                name=name,
                meaning=meaning,
                columns=[
                    ColumnOut(name=column, type=kind.split()[0], meaning=words)
                    for column, (kind, words) in columns.items()
                ],
            )
            for name, (meaning, columns) in snapshot.SCHEMA.items()
        ],
    )


@router.post("")
def ask_sql(request: Request, question: Question, here: Annotated[Visit, Depends(needs("sql"))]) -> Rows:
    """One SELECT on the de-identified copy. It is written into the audit chain, word for word."""
    need_sql(here)
    try:
        ran = run(request, here, question.sql, "api")
    except Refused as refused:
        raise ApiProblem(
            422, "{sentence}", at="body.sql", sentence=refused.en if here.lang == "en" else refused.zh
        ) from refused
    answer = ran.answer
    return Rows(
        columns=answer.columns,
        rows=answer.rows,
        more=answer.more,
        made_at=answer.made_at,
        took_ms=ran.took_ms,
    )
