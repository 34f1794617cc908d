"""Searches that people keep, and what their alerts have seen. An alert tells its owner once a window, never more often."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from incidents.models import JsonDict, SavedSearch

#: hours over which an alert may count
WINDOWS = (1, 6, 24, 72, 168)
#: kept searches of one person
MOST = 200


@dataclass(frozen=True)
class SavedView:
    """One kept search. `threshold` 0: no alert; `found`: hits in the window when it was last looked at."""

    id: int
    owner: str
    name: str
    asked: JsonDict
    shared: bool
    threshold: int
    window_h: int
    updated_at: datetime
    checked_at: datetime | None
    found: int
    told_at: datetime | None
    trouble: str


def _view(row: SavedSearch) -> SavedView:
    return SavedView(
        row.id,
        row.owner,
        row.name,
        row.asked,
        row.shared,
        row.threshold,
        row.window_h,
        row.updated_at,
        row.checked_at,
        row.found,
        row.told_at,
        row.trouble,
    )


def keep(
    session: Session,
    owner: str,
    name: str,
    asked: JsonDict,
    *,
    shared: bool,
    threshold: int,
    window_h: int,
    now: datetime,
) -> SavedView | None:
    """Keep a search under a name of its owner's; the same name again replaces it. None when the owner has too many."""
    row = session.scalar(select(SavedSearch).where(SavedSearch.owner == owner, SavedSearch.name == name))
    if row is None:
        if len(session.scalars(select(SavedSearch.id).where(SavedSearch.owner == owner)).all()) >= MOST:
            return None
        row = SavedSearch(owner=owner, name=name, created_at=now)
        session.add(row)
    row.asked, row.shared, row.threshold, row.window_h, row.updated_at = (
        asked,
        shared,
        threshold,
        window_h if window_h in WINDOWS else 24,
        now,
    )
    # another question: what was seen of the former one says nothing
    row.checked_at, row.found, row.told_at, row.trouble = None, 0, None, ""
    session.flush()
    return _view(row)


def of_person(session: Session, login: str) -> list[SavedView]:
    """A person's own searches, then those that others share, by name."""
    query = select(SavedSearch).where(or_(SavedSearch.owner == login, SavedSearch.shared))
    found = [_view(row) for row in session.scalars(query)]
    return sorted(found, key=lambda one: (one.owner != login, one.name, one.id))


def remove(session: Session, id: int, owner: str) -> SavedView | None:
    """Forget a search of this owner's; None when there is none."""
    row = session.get(SavedSearch, id)
    if row is None or row.owner != owner:
        return None
    session.delete(row)
    session.flush()
    return _view(row)


def due(session: Session, now: datetime, every: timedelta) -> SavedView | None:
    """The search with an alert that waits longest for a look; None when all were looked at within `every`."""
    query = (
        select(SavedSearch)
        .where(
            SavedSearch.threshold > 0,
            or_(SavedSearch.checked_at.is_(None), SavedSearch.checked_at <= now - every),
        )
        .order_by(SavedSearch.checked_at.is_not(None), SavedSearch.checked_at, SavedSearch.id)
        .limit(1)
    )
    row = session.scalar(query)
    return _view(row) if row is not None else None


def note(
    session: Session, id: int, now: datetime, *, found: int = 0, told: bool = False, trouble: str = ""
) -> None:
    """What a look came to."""
    values: JsonDict = {"checked_at": now, "found": found, "trouble": trouble}
    if told:
        values["told_at"] = now
    session.execute(update(SavedSearch).where(SavedSearch.id == id).values(**values))
