"""A new or changed holiday notice: every open clock and obligation is counted again, and only those affected move."""

from __future__ import annotations

from typing import Any

from alerts import moves, obligations
from alerts.desk import Desk
from incidents import beats, clock_changes

BEAT = "alerts.calendar"
#: rows looked at, and moved, in one tick: a change of the calendar must not keep pages waiting
STEP, MOVES = 500, 100


def due(desk: Desk) -> bool:
    """Whether the calendar is another one than that with which everything was counted."""
    known = beats.get_beat(desk.session, BEAT)
    return known is None or known.value.get("version") != desk.calendar.version


def check(desk: Desk) -> bool:
    """Go one step on after a change of the calendar, the clocks first, then the register; False: nothing was to be done.

    How far it has come is kept in a beat, so that a crash costs at most one step and no clock is left out.
    """
    known = beats.get_beat(desk.session, BEAT)
    version = desk.calendar.version
    if known is None:
        beats.beat(desk.session, BEAT, desk.now, {"version": version})
        return False
    if known.value.get("version") == version:
        return False
    at = known.value if known.value.get("counting") == version else {}
    clock, duty = int(at.get("clock", 0)), int(at.get("duty", 0))
    if clock >= 0:
        clock = _clocks(desk, clock) or -1
    if clock < 0:
        duty = obligations.recount(desk, duty, STEP) or -1
    value: dict[str, Any] = {"version": version}
    if duty >= 0:
        value = {"version": known.value.get("version"), "counting": version, "clock": clock, "duty": duty}
    beats.beat(desk.session, BEAT, desk.now, value)
    return True


def _clocks(desk: Desk, after_id: int) -> int:
    """Some open clocks above `after_id`; the number of the last one, or 0 at the end. Ends that a person named stay."""
    found = clock_changes.open_after(desk.session, after_id, STEP)
    moved = 0
    for clock in found:
        moved += moves.recount(desk, clock)
        if moved == MOVES:
            return clock.id
    return found[-1].id if len(found) == STEP else 0
