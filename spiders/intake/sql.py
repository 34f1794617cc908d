"""A table or view of another system's database, read in the order of its watermark.

A complete reading ends with the newest watermark; the next one begins `overlap` before it, since a transaction may commit after a
later one. A reading that stops at its limit or is killed goes on exactly behind its last row.
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime, timedelta
from typing import Any

from config.sources import SqlSource
from incidents.crawl_progress import keep_cursor
from incidents.foreign import ForeignTrouble, Position, View, kind_of, open_view
from incidents.session import Session
from incidents.sources import SourceView
from spiders.importer import Found, posts_of
from spiders.intake.mapping import mapping_of, origin_of
from spiders.intake.reading import Counts, Look, Surroundings, store
from spiders.profiles import Profile
from spiders.source_run import zone_of
from spiders.tables import RawRow

KEY = "sql"
#: rows of one reading when the source names no max_items; what is left comes with the next look
_ROWS = 5000
#: whether rows without a watermark exist is asked so seldom, since it may mean reading the whole table
_NULLS_EVERY = timedelta(hours=24)
#: how times are written in columns of text, so that they sort as they follow each other
_TEXT_TIMES = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
    "%Y%m%d%H%M%S",
    "%Y/%m/%d %H:%M:%S",
)


def look_at_view(around: Surroundings, source: SqlSource, state: SourceView) -> tuple[Look, dict[str, Any]]:
    """Read what is new; returns what was seen and the cursor to keep.

    Raises SourceUnusable when the database or the view cannot be used, Stopped, ConfigError for a wrong profile.
    """
    reader = _Reader(around, source, state, mapping_of(source, around.config_dir))
    url = around.secret(source, "database", source.database)
    try:
        with open_view(url, source.table, source.timeout_s) as view:
            reader.read(view)
    except ForeignTrouble as exc:
        before = f"; {reader.look.counts.describe()} before that" if reader.look.counts.rows else ""
        reader.look.problem, reader.look.sentence = exc.state, exc.sentence + before
    reader.cursor[KEY] = reader.memory
    return reader.look, reader.cursor


class _Reader:
    def __init__(self, around: Surroundings, source: SqlSource, state: SourceView, profile: Profile) -> None:
        self._around, self._source, self._profile = around, source, profile
        self.look = Look()
        self.cursor: dict[str, Any] = dict(state.cursor or {})
        self.memory: dict[str, Any] = dict(self.cursor.get(KEY, {}))
        self._zone = zone_of(profile.timezone)

    def read(self, view: View) -> None:
        """Batch by batch, each saved with the place it came to."""
        source = self._source
        watermark, key = view.column(source.watermark), view.column(source.key)
        columns = self._columns(view)
        mark, at, newest = self._stored("mark"), self._stored("at"), self._stored("newest")
        first = view.rows((), watermark, key, limit=1)
        if not first:
            self.look.nothing_at_all = True
            self._nulls(view, watermark)
            return
        self._same_kind(self._position(first[0], watermark, key), at or mark, watermark)
        since = None
        if at is None:
            since = self._back(mark, watermark) if mark else self._start(first[0][watermark], watermark)
        left = source.max_items or _ROWS
        more = True
        while more and left > 0:
            size = min(source.batch, left)
            rows = view.rows(columns, watermark, key, since=since, after=at, limit=size)
            for row in rows:
                newest = self._newer(newest, self._position(row, watermark, key))
            if rows:
                at = self._position(rows[-1], watermark, key)
                self._same_kind(at, mark, watermark)
                self._save(rows, watermark, key, newest)
            left -= len(rows)
            more = len(rows) == size
        if more:
            self.look.notes.append("stopped at its limit, goes on at once")
            self.look.again = timedelta(seconds=1)
        else:
            done = newest or mark
            self.memory = {
                **{name: self.memory[name] for name in ("nulls_at", "nulls") if name in self.memory},
                **({"mark": Position(done.kind, done.value).dump()} if done else {}),
            }
        self._nulls(view, watermark)

    def _columns(self, view: View) -> list[str]:
        """The columns that the profile reads; no other is even asked for, so no caller's name or number leaves the database."""
        found = self._profile.match(view.columns)
        missing = [name for name in self._profile.require if name not in found and name != "text"]
        if "text" not in found and "title" not in found:
            missing.insert(0, "text")
        if missing:
            names = ", ".join(self._profile.columns.get(missing[0], (missing[0],))[:6])
            raise ForeignTrouble(
                "changed",
                f"{view.name} has no column for {missing[0]} (expected one of {names}); "
                f"it has: {', '.join(view.columns)[:300]}",
            )
        return [column for columns in found.values() for column in columns]

    def _nulls(self, view: View, watermark: str) -> None:
        """Tell of rows that no reading will ever find."""
        now = self._around.clock()
        asked = str(self.memory.get("nulls_at", ""))
        if not asked or now - datetime.fromisoformat(asked) >= _NULLS_EVERY:
            self.memory["nulls_at"] = now.isoformat()
            try:
                self.memory["nulls"] = view.any_without(watermark)
            except (
                ForeignTrouble
            ):  # too large a table to be asked; the rows that have one were read all the same
                self.look.notes.append(
                    f"whether rows without {watermark} exist could not be found out in time"
                )
        if self.memory.get("nulls"):
            self.look.notes.append(f"some rows have no {watermark} and are never read")

    # --- places in the order

    def _stored(self, name: str) -> Position | None:
        raw = self.memory.get(name)
        return Position.load(raw) if raw else None

    def _position(self, row: dict[str, Any], watermark: str, key: str) -> Position:
        for name in (watermark, key):
            if not kind_of(row[name]):
                raise ForeignTrouble(
                    "changed",
                    f"the column {name} holds {type(row[name]).__name__}; a time, a number or a text is needed",
                )
        return Position(kind_of(row[watermark]), row[watermark], row[key])

    def _same_kind(self, at: Position, before: Position | None, watermark: str) -> None:
        if before is not None and at.kind != before.kind:
            raise ForeignTrouble(
                "changed",
                f"the column {watermark} is now a {at.kind}, it was a {before.kind} when it was last read; "
                "if that is meant, give the source a new id",
            )

    def _newer(self, newest: Position | None, at: Position) -> Position:
        """The later of two; a time that lies ahead counts as now, else it would make all that follows look old."""
        now = self._around.clock()
        value = at.value
        if isinstance(value, datetime):
            value = min(value, now.astimezone(value.tzinfo) if value.tzinfo else self._local(now))
        elif isinstance(value, date):
            value = min(value, self._local(now).date())
        elif isinstance(value, str) and (form := _form_of(value)):
            value = min(value, self._local(now).strftime(form))
        if newest is not None and newest.value >= value:
            return newest
        return Position(at.kind, value)

    def _local(self, when: datetime) -> datetime:
        return when.astimezone(self._zone).replace(tzinfo=None)

    def _start(self, sample: Any, watermark: str) -> Any:
        """Where the first reading begins, in the form of the column; None: at its first row."""
        start = self._around.clock() - timedelta(days=self._source.first_days)
        if isinstance(sample, datetime):
            return start if sample.tzinfo else self._local(start)
        if isinstance(sample, date):
            return self._local(start).date()
        if isinstance(sample, str):
            return self._local(start).strftime(self._form(sample, watermark))
        return None

    def _back(self, mark: Position, watermark: str) -> Any:
        """The newest watermark less the overlap."""
        overlap, value = timedelta(minutes=self._source.overlap_min), mark.value
        if isinstance(value, datetime):
            return value - overlap
        if isinstance(value, date):
            return value - timedelta(days=1)
        if isinstance(value, str):
            form = self._form(value, watermark)
            return (datetime.strptime(value, form) - overlap).strftime(form)  # noqa: DTZ007 (the column has no zone)
        return value - self._source.overlap_ids

    def _form(self, value: str, watermark: str) -> str:
        form = _form_of(value)
        if form is None:
            raise ForeignTrouble(
                "changed",
                f"the column {watermark} holds texts such as {value[:30]!r}; "
                "as a watermark they must be times written like 2026-11-20 09:30:00",
            )
        return form

    # --- what is kept

    def _save(self, rows: list[dict[str, Any]], watermark: str, key: str, newest: Position | None) -> None:
        """Each batch with the place it came to, in one transaction."""

        def keep(session: Session, batch: list[Found]) -> None:
            last = batch[-1].raw
            self.memory["at"] = self._position(last.values, watermark, key).dump()
            if newest is not None:
                self.memory["newest"] = newest.dump()
            keep_cursor(session, self._source.id, {**self.cursor, KEY: self.memory})

        raw = (RawRow(_number(row[key]), row) for row in rows)
        origin = origin_of(self._source.id, self._source.table)
        found = posts_of(raw, origin, self._profile, self._around.key, self._around.clock())
        counts = Counts()
        try:
            store(self._around, found, origin, counts, keep)
        finally:
            self.look.counts.add(counts)
        if counts.calls_aside:
            self.look.notes.append(f"{counts.calls_aside} call-backs set aside")
        if counts.aside:
            bad = counts.bad[0]
            self.look.notes.append(
                f"{counts.aside} rows set aside, first: {bad.row}, {bad.field}: {bad.reason}"
            )


def _number(key: Any) -> int:
    """A row's number in what is told of it: its key if that is a number, else one made from it; the same at every reading."""
    if isinstance(key, int) and 0 < key < 2**31:
        return key
    return int.from_bytes(hashlib.sha256(str(key).encode()).digest()[:4], "big") & 0x7FFF_FFFF


def _form_of(value: str) -> str | None:
    for form in _TEXT_TIMES:
        try:
            if datetime.strptime(value, form).strftime(form) == value:  # noqa: DTZ007 (the column has no zone)
                return form
        except ValueError:
            continue
    return None
