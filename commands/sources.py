"""`quansheng sources`: is each source alive, by which evidence, and how long it has been silent beside its own habit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from commands.lengths import span
from config.i18n import retold, translator
from config.sources import Source
from console.words import word
from incidents.installation import Installation, Problem
from incidents.source_health import Silence, last_readings, silence_of
from incidents.sources import SourceView, with_cursors
from incidents.stops import Stop, in_force

COLUMNS = ["source", "state", "in a row", "last read", "last new", "silent / limit", "expected", "evidence"]
#: sources whose history is in memory at one time
_AT_ONCE = 500


#: said beside the evidence for as long as it holds
LIES = "ETag unreliable: read in full each time"


@dataclass(frozen=True)
class Health:
    """One configured source with what its readings say."""

    source: Source
    view: SourceView
    quiet: Silence | None
    readings: tuple[dict[str, Any], ...]
    stop: Stop | None = None

    @property
    def lies(self) -> bool:
        """Whether its server was caught calling a changed list unchanged."""
        return bool((self.view.cursor or {}).get("etag_unreliable"))

    @property
    def state(self) -> str:
        """Its state; `halted` or `objected` when a person stopped it, `off` when it is not enabled."""
        if not self.source.enabled:
            return "off"
        if self.stop is not None:
            return "halted" if self.stop.kind == "halt" else "objected"
        return self.view.state

    @property
    def evidence(self) -> str:
        """Why it is in its state."""
        return self.stop.sentence if self.stop is not None and self.source.enabled else self.view.evidence


@dataclass(frozen=True)
class Sources:
    """All of them, the troubled first."""

    home: Installation
    rows: tuple[Health, ...]

    def table(self, language: str) -> list[list[str]]:
        """One row a source for a terminal."""
        say = translator("console", language)
        return [
            [
                row.source.id,
                say("停用" if row.state == "off" else word("source_state", row.state)),
                str(row.view.failures or ""),
                self._at(row.view.last_fetch_at),
                self._at(row.view.last_new_post_at),
                f"{span(row.quiet.lasts)} / {span(row.quiet.limit)}" if row.quiet else "",
                f"{row.quiet.expected:.1f}" if row.quiet else "",
                retold("spiders", row.evidence, language) + (f"; {LIES}" if row.lies else ""),
            ]
            for row in self.rows
        ]

    def _at(self, when: datetime | None) -> str:
        return f"{when.astimezone(self.home.zone):%m-%d %H:%M}" if when else ""

    def as_dict(self) -> list[dict[str, Any]]:
        """For scripts; with the evidence of the last readings."""
        return [
            {
                "id": row.source.id,
                "state": row.state,
                "evidence": row.evidence,
                "failures": row.view.failures,
                "etag_unreliable": row.lies,
                "last_fetch_at": row.view.last_fetch_at,
                "last_ok_at": row.view.last_ok_at,
                "last_new_post_at": row.view.last_new_post_at,
                "next_due_at": row.view.next_due_at,
                "domain_hint": row.source.domain_hint,
                "silence": None
                if row.quiet is None
                else {
                    "minutes": round(row.quiet.lasts.total_seconds() / 60),
                    "limit_minutes": round(row.quiet.limit.total_seconds() / 60),
                    "expected_posts": round(row.quiet.expected, 2),
                    "chance": row.quiet.chance,
                    "unusual": row.quiet.unusual,
                },
                "readings": list(row.readings),
            }
            for row in self.rows
        ]


def health_of(home: Installation, now: datetime, only: list[str]) -> Sources:
    """Every configured source, or those named. Raises Problem for a name that is not configured."""
    known = [source.id for source in home.bundle.sources]
    wrong = [name for name in only if name not in known]
    if wrong:
        raise Problem(
            f"no source named {', '.join(wrong)} in sources.yaml; there are: {', '.join(known) or 'none'}"
        )
    wanted = [source for source in home.bundle.sources if not only or source.id in only]
    rows: list[Health] = []
    with home.db.reading() as session:
        board = in_force(session)
    for at in range(0, len(wanted), _AT_ONCE):
        some = wanted[at : at + _AT_ONCE]
        with home.db.reading() as session:
            views = with_cursors(session, [source.id for source in some])
        for source in some:
            view = views.get(source.id) or SourceView(source.id)
            quiet = silence_of(view.cursor, now, source.every_min)
            readings = last_readings(view.cursor)
            stop = board.of(source)
            rows.append(Health(source, replace(view, cursor=None), quiet, readings, stop))
    rows.sort(
        key=lambda row: (not row.source.enabled, row.stop is None, not row.view.failures, row.source.id)
    )
    return Sources(home, tuple(rows))
