"""What runs every two seconds costs the same after a year as on the first day: it reads no table of the past from end to end.

A history of the state machine is played on SQLite, and the plan of every statement of its ticks and senders is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from tests.machine import world
from tests.machine.machine import explore

#: tables that grow for as long as the system runs
GROWING = ("outbox", "outbox_attempt", "incident_event", "post", "deadline", "timer", "incident")
#: a whole table, or a whole index that holds a row for each of its rows (partial ones hold what is open)
_WHOLE = re.compile(rf"SCAN ({'|'.join(GROWING)})(?: USING (?:COVERING )?INDEX (\w+))?$")
_PARTIAL = {"ix_outbox_todo", "ix_deadline_open", "ix_timer_open", "ix_post_unjudged"}


def reads_all(statement: str, plan: list[str]) -> list[str]:
    """Steps of a plan that read a growing table from end to end; the newest row of a table is found at its end."""
    newest = "WHERE" not in statement and "LIMIT" in statement and not any("TEMP B-TREE" in p for p in plan)
    found = (_WHOLE.match(step) for step in plan)
    return [] if newest else [step[0] for step in found if step and step[2] not in _PARTIAL]


@contextmanager
def plans(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[str]]]:
    """Every statement of ticks and senders with its plan."""
    seen: dict[str, list[str]] = {}
    working = False

    def noted(work: Callable[..., object]) -> Callable[..., object]:
        def play(*given: object) -> object:
            nonlocal working
            working = True
            try:
                return work(*given)
            finally:
                working = False

        return play

    def ask(
        connection: Connection, _: object, statement: str, values: Any, _context: object, many: bool
    ) -> None:
        if not working or statement in seen or not statement.startswith(("SELECT", "UPDATE", "DELETE")):
            return
        cursor = connection.connection.cursor()
        first = values[0] if many else values
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}", first)
        seen[statement] = [row[3] for row in cursor.fetchall()]

    for name in ("tick", "send"):
        monkeypatch.setattr(world.World, name, noted(getattr(world.World, name)))
    event.listen(Engine, "before_cursor_execute", ask)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", ask)
        world.remove()


def test_neither_tick_nor_sender_reads_a_table_of_the_past_from_end_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with plans(monkeypatch) as seen:
        explore(7, 3, 100)
    assert len(seen) > 40  # else nothing was looked at
    assert {statement: bad for statement, plan in seen.items() if (bad := reads_all(statement, plan))} == {}
