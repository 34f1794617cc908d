"""SQL of analysts on the de-identified copy: SELECT only, in a process of its own, with limits of time, rows and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from incidents import snapshot
from incidents.states import Refused

_CHILD = Path(__file__).with_name("sql_child.py")
#: seconds beyond its own limit after which the process is ended from outside
_GRACE_S = 5.0
#: how a question begins; the authorizer decides, this only says it in words
_BEGINS = ("select", "with", "values")


@dataclass(frozen=True)
class SqlAnswer:
    """Rows of one query. `more`: there were more than are shown. `made_at`: when the copy was made."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    more: bool
    made_at: datetime


def ask(file: Path, sql: str, *, rows: int, seconds: float, memory_mb: int) -> SqlAnswer:
    """Run one SELECT on the copy. Raises Refused with a sentence for whoever wrote it."""
    text = sql.strip()
    if not text:
        raise Refused("请写一条 SELECT 查询。", "write a SELECT")
    if "\x00" in text:
        raise Refused("查询中有不能使用的字符。", "the query holds a character that cannot be used")
    first = text.lstrip("(").split(None, 1)
    if not text.startswith(("--", "/*")) and (not first or not first[0].lower().startswith(_BEGINS)):
        raise Refused(
            "只能查询：语句须以 SELECT、WITH 或 VALUES 开头。",
            "only questions: begin with SELECT, WITH or VALUES",
        )
    made = snapshot.made_at(file)
    if made is None:
        raise Refused(
            "去标识化副本还没有生成，请稍后再试，或请管理员运行 quansheng export。",
            "the de-identified copy was not made yet; try later, or ask the operator to run `quansheng export`",
        )
    said = _run(
        {
            "file": file.resolve().as_uri(),
            "sql": text,
            "tables": list(snapshot.SCHEMA),
            "rows": rows,
            "seconds": seconds,
            "memory_mb": memory_mb,
        },
        seconds,
    )
    if "problem" in said:
        raise _refusal(said, seconds, memory_mb)
    return SqlAnswer(said["columns"], said["rows"], said["more"], made)


def _run(asked: dict[str, Any], seconds: float) -> dict[str, Any]:
    try:
        done = subprocess.run(  # noqa: S603 (our own file; what comes from outside goes in as JSON)
            [sys.executable, "-I", "-S", "-B", str(_CHILD)],
            input=json.dumps(asked).encode(),
            capture_output=True,
            timeout=seconds + _GRACE_S,
            env={},
            cwd="/",
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"problem": "time"}
    if done.returncode != 0:
        # ended by its CPU limit, or there was no memory even to say so
        return {"problem": "time" if done.returncode < 0 else "memory"}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _refusal(said: dict[str, Any], seconds: float, memory_mb: int) -> Refused:
    detail = str(said.get("detail", ""))[:300]
    match said["problem"]:
        case "time":
            return Refused(
                f"查询超过 {seconds:g} 秒，已停止；请缩小时间范围，或先汇总再连接。",
                f"the query took more than {seconds:g} s and was stopped; narrow the time, or sum up before joining",
            )
        case "memory":
            return Refused(
                f"查询用的内存超过 {memory_mb} MB，已停止；请减少列或行。",
                f"the query took more than {memory_mb} MB and was stopped; ask for fewer columns or rows",
            )
        case "statements":
            return Refused("一次只能执行一条语句。", "one statement at a time")
        case "refused":
            return Refused(
                f"不允许：{detail}。只能读取列出的表，使用普通函数。",
                f"not allowed: {detail}; only the listed tables and ordinary functions can be used",
            )
        case _:
            return Refused(f"SQL 有误：{detail}", f"the SQL cannot be run: {detail}")
