"""The evaluation of an incident as its page shows it: what was computed and kept, beside it what people said. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from console import clerk
from console.context import Visit
from console.rights import may_review
from incidents import call_backs, evaluation_runs, ratings
from incidents.call_backs import Entry, Said
from incidents.evaluation_runs import Run
from incidents.queries import IncidentView
from incidents.ratings import COLOURS, ITEMS, RATED_IN, RUBRIC, Rating
from incidents.session import Session


@dataclass(frozen=True)
class Part:
    """`run` None: nothing was computed yet. `mine`: the reader's own rating of this round. `bars`: rows of the trend's picture."""

    run: Run | None
    earlier: tuple[Run, ...]
    ratings: tuple[Rating, ...]
    mine: Rating | None
    calls: tuple[Entry, ...]
    may_review: bool
    bars: tuple[tuple[str, int, int], ...]

    @property
    def model(self) -> dict[str, Any]:
        """What was computed, as it was kept."""
        return self.run.model if self.run else {}

    @property
    def said(self) -> Said:
        """All calls together."""
        return sum((one.said for one in self.calls), Said())

    @property
    def imported(self) -> int:
        """Callers that an export brought: of each entry those who said either."""
        return sum(
            max(one.said.answered + one.said.unknown, one.said.judged) for one in self.calls if one.source
        )

    @property
    def both_ways(self) -> bool:
        """Whether people typed calls of a round of which an export brought some: the same ones perhaps."""
        brought = {one.round for one in self.calls if one.source}
        return any(not one.source and one.round in brought for one in self.calls)


#: what the form of a rating offers
FORM = {"items": ITEMS, "rubric": RUBRIC, "colours": COLOURS, "counts": call_backs.COUNTS}


def part_of(here: Visit, session: Session, incident: IncidentView) -> Part:
    """What the page of one incident shows. A clerk reads the figures, not who of the reviewers said what."""
    known = evaluation_runs.runs(session, "incident", incident.number) if incident.number else []
    is_clerk = clerk.is_clerk(here)
    said = () if is_clerk else ratings.ratings_of(session, [incident.id]).get(incident.id, ())
    rated = incident.state in RATED_IN
    mine = [one for one in said if one.reviewer == here.account.login and one.round == incident.round]
    run = known[-1] if known else None
    return Part(
        run=run,
        earlier=tuple(reversed(known[:-1])),
        ratings=said,
        mine=mine[0] if mine else None,
        calls=call_backs.entries_of(session, [incident.id]).get(incident.id, ()),
        may_review=rated and may_review(here),
        bars=_bars(here, run.model.get("trend") if run else None),
    )


def _bars(here: Visit, trend: dict[str, Any] | None) -> tuple[tuple[str, int, int], ...]:
    if not trend:
        return ()
    zone, at = here.console.zone, datetime.fromisoformat(trend["answered_at"])
    return tuple(
        (
            (at + timedelta(hours=bar["at"])).astimezone(zone).strftime("%m-%d %H:%M"),
            bar["posts"],
            bar["negative"],
        )
        for bar in trend["bars"]
    )


def by_department(rows: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Rows of a period by department, in the order in which they were kept; the department's sum comes first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["department"], []).append(row)
    return list(found.items())


def without(row: dict[str, Any], secret: Collection[str]) -> dict[str, Any]:
    """A row of a period without the numbers of incidents that the reader must not know of; figures stay."""
    return {
        **row,
        "numbers": [number for number in row["numbers"] if number not in secret],
        "worst_number": "" if row["worst_number"] in secret else row["worst_number"],
        "indicators": [
            {**one, "lines": [step for step in one["lines"] if step["given"].get("number") not in secret]}
            for one in row["indicators"]
        ],
    }
