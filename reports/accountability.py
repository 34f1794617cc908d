"""Build the department table of one period: every figure a fold over events or a count of rows.

`build_accountability` reads, decides nothing and writes nothing. What can change a past period is late data (an answer
entered later, an appeal that was upheld, a clock cancelled later): the job keeps that as a marked correction.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from config.bundle import Bundle
from config.departments import Departments
from incidents import accountability_numbers as numbers
from incidents import appeals, promises, weekly_numbers
from incidents.appeals import TAKEN_AWAY, AppealView
from incidents.promises import Promise
from incidents.session import Session
from incidents.states import LEVELS, Situation, State
from incidents.weekly_numbers import Clock, Story
from reports.accountability_acts import Acts, count_acts, took
from reports.accountability_model import (
    AccountabilityModel,
    DepartmentLine,
    LinkCharge,
    LinkLine,
    Miss,
    MixCell,
    Rate,
    Used,
)
from reports.charge import (
    LINKS,
    PARTS,
    SHARED,
    Charge,
    Stretch,
    Tenure,
    charge,
    holder_at,
    stretches,
    tenures,
)
from reports.period import Period, named
from reports.standard import expected, groups, rate, together
from reports.story import is_over, situation

#: clocks that the duty desk keeps or misses, whoever has the matter by then
_DESK_CLOCKS = ("confirmed", "assigned", "page_acknowledged")
Cell = tuple[str, str]


def build_accountability(session: Session, bundle: Bundle, period: str, now: datetime) -> AccountabilityModel:
    """The table of a week (2026-W47), month (2026-11), quarter (2026-Q4) or year (2026), as it stood at its end.

    Raises PeriodError for a period that does not exist or lies ahead.
    """
    span = named(period, now, ZoneInfo(bundle.settings.city.timezone))
    return _Table(session, bundle, span, now).model()


@dataclass(frozen=True)
class _Case:
    """One incident that counts: neither a false alarm nor part of another one at the end of the period."""

    story: Story
    now: Situation
    found: list[Stretch]
    tenures: list[Tenure]

    @property
    def cell(self) -> Cell:
        """What it is compared with."""
        return self.story.domain, self.now.level


@dataclass(frozen=True)
class _Outcome:
    """How one clock ended: kept or missed, by whom (a department, or another link)."""

    case: _Case
    clock: Clock
    kept: bool
    charge: Charge
    holder: str  # who had the matter when it stopped or ran out
    stop: datetime


def resolver(departments: Departments) -> Callable[[str], str]:
    """From what an event calls a department to the id of today: names of 2018 lead to whoever bears the duty now."""

    def found(name: str) -> str:
        if not name or departments.get(name):
            return name
        known = departments.named(name)
        return known.id if known else name

    return found


class _Table:
    """Collects the figures of one period."""

    def __init__(self, session: Session, bundle: Bundle, span: Period, now: datetime) -> None:
        self.session, self.bundle, self.span, self.now = session, bundle, span, now
        self.settings = bundle.settings.accountability
        self.unit = resolver(bundle.departments)
        self.cases = self._cases()
        self.by_id = {case.story.id: case for case in self.cases}
        self.outcomes = self._outcomes()
        self.charged = {one.clock.id: one for one in self.outcomes if not one.kept}
        self.appeals = appeals.listed(session)

    # --- cases and clocks ------------------------------------------------------------------------------------------

    def _cases(self) -> list[_Case]:
        as_of = self.span.as_of
        stories = [
            story
            for story in weekly_numbers.stories(self.session, self.span.since, as_of)
            if any(event.kind == "detected" for event in story.events)
        ]
        fetched = numbers.first_fetched(self.session, [story.id for story in stories])
        found = []
        for story in stories:
            now = situation(story.events)
            if now.state in (State.FALSE_ALARM, State.MERGED):
                continue
            cut = [
                Stretch(one.part, self.unit(one.department), one.start, one.end, one.round, one.done)
                for one in stretches(story, fetched.get(story.id), as_of)
            ]
            held = [
                Tenure(
                    self.unit(one.department),
                    tuple(map(self.unit, one.co)),
                    one.start,
                    one.end,
                    one.ended_by,
                    one.round,
                )
                for one in tenures(story, as_of)
            ]
            found.append(_Case(story, now, cut, held))
        return found

    def _outcomes(self) -> list[_Outcome]:
        """Clocks of the period: kept when stopped in it in time, missed when they ran out in it."""
        since, as_of = self.span.since, self.span.as_of
        allowance = timedelta(hours=self.settings.others_h)
        found = []
        for clock in weekly_numbers.clocks(self.session, since, as_of):
            case = self.by_id.get(clock.incident_id)
            if case is None:
                continue
            closed = clock.closed_at if clock.closed_at is not None and clock.closed_at < as_of else None
            stop = closed or as_of
            if clock.due_at < stop:
                if clock.due_at < since:
                    continue  # it was missed in an earlier period, and counts there
                said = (
                    Charge("desk", "", {("desk", ""): round((stop - clock.started_at).total_seconds())})
                    if clock.stops_on in _DESK_CLOCKS
                    else charge(clock, case.found, stop, allowance)
                )
                holder = holder_at(case.tenures, clock.due_at)
                found.append(_Outcome(case, clock, False, said, holder, stop))
            elif closed is not None and closed >= since:
                holder = "" if clock.stops_on in _DESK_CLOCKS else holder_at(case.tenures, closed)
                link = "department" if holder else "desk"
                found.append(_Outcome(case, clock, True, Charge(link, holder, {}), holder, stop))
        return found

    # --- the model -------------------------------------------------------------------------------------------------

    def model(self) -> AccountabilityModel:
        """Everything put together."""
        city, span = self.bundle.settings.city, self.span
        cells = self._cells()
        every = together(cells.values())
        ids = self._units()
        rates = {unit: self._rate(cells.get(unit, {})) for unit in ids}
        group = groups(sorted(rates.items()))
        lines = [self._line(unit, cells.get(unit, {}), every, rates[unit], group.get(unit)) for unit in ids]
        shares = [one.share for one in rates.values() if one.share is not None]
        head = weekly_numbers.head_before(self.session, span.as_of)
        return AccountabilityModel(
            period=span.name,
            kind=span.noun,
            city=city.name,
            timezone=city.timezone,
            since=span.since,
            until=span.until,
            as_of=span.as_of,
            generated_at=self.now,
            min_n=self.settings.min_n,
            ceiling=self.settings.ceiling,
            others_h=self.settings.others_h,
            cases=len(self.cases),
            rate=self._rate(every),
            near_ceiling=len(shares) > 1 and min(shares) >= self.settings.ceiling,
            one_group=len(set(group.values())) == 1 and len(group) > 1,
            departments=tuple(lines),
            mix=self._mix(self.cases, every),
            links=self._links(),
            charges=self._charges(),
            misses=tuple(self._miss(one) for one in self.outcomes if not one.kept),
            rules_version=self.bundle.rules.version,
            seq=head.seq,
            hash=head.hash,
        )

    def _rate(self, cells: dict[Cell, tuple[int, int]]) -> Rate:
        kept = sum(pair[0] for pair in cells.values())
        return rate(kept, sum(pair[1] for pair in cells.values()), self.settings.min_n)

    def _cells(self) -> dict[str, dict[Cell, tuple[int, int]]]:
        """Kept and missed clocks of each department by domain and grade."""
        found: defaultdict[str, defaultdict[Cell, list[int]]] = defaultdict(
            lambda: defaultdict(lambda: [0, 0])
        )
        for one in self.outcomes:
            if one.charge.link == "department":
                found[one.charge.department][one.case.cell][0 if one.kept else 1] += 1
        return {
            unit: {cell: (pair[0], pair[1]) for cell, pair in cells.items()} for unit, cells in found.items()
        }

    def _units(self) -> list[str]:
        """Departments that had anything to do in the period, in the order of the configuration. No rank."""
        ids = {one.department for case in self.cases for one in self._held(case)}
        ids |= {unit for case in self.cases for one in self._held(case) for unit in one.co}
        ids |= {one.charge.department for one in self.outcomes if one.charge.department}
        known = [entry.id for entry in self.bundle.departments.departments if entry.id in ids]
        return [*known, *sorted(ids - set(known))]

    def _held(self, case: _Case) -> list[Tenure]:
        """Tenures that touch the period."""
        since = self.span.since
        return [one for one in case.tenures if one.end is None or one.end >= since]

    def _mix(self, cases: Collection[_Case], cells: dict[Cell, tuple[int, int]]) -> tuple[MixCell, ...]:
        count = Counter(case.cell for case in cases)
        order = sorted(count.keys() | cells.keys(), key=lambda cell: (cell[0], LEVELS.index(cell[1])))
        return tuple(
            MixCell(
                domain=cell[0],
                level=cell[1],
                cases=count[cell],
                kept=cells.get(cell, (0, 0))[0],
                missed=cells.get(cell, (0, 0))[1],
            )
            for cell in order
        )

    def _line(
        self,
        unit: str,
        cells: dict[Cell, tuple[int, int]],
        every: dict[Cell, tuple[int, int]],
        own: Rate,
        group: int | None,
    ) -> DepartmentLine:
        known = self.bundle.departments.get(unit)
        taken = [
            one
            for one in self.outcomes
            if one.charge.department == unit and not one.kept and self._taken(one)
        ]
        led = [case for case in self.cases if any(one.department == unit for one in self._held(case))]
        helped = [case for case in self.cases if any(unit in one.co for one in self._held(case))]
        mine = [one for one in self.outcomes if one.charge.department == unit]
        kept, missed = ([one for one in mine if one.kept is wanted] for wanted in (True, False))
        acts = self._acts(unit)
        reds = [card for card in self._cards(unit) if card.kind == "red"]
        measures = [one for one in self._measures if self.unit(one.department) == unit]
        numbers_of = {case.story.number for case in (*led, *helped)} | {one.case.story.number for one in mine}
        return DepartmentLine(
            id=unit,
            name=known.name if known else unit,
            former=tuple(name for name in known.name_2018 if name != known.name) if known else (),
            led=len(led),
            co=len(helped),
            mix=self._mix(led, cells),
            rate=own,
            expected=expected(cells, every) if own.share is not None else None,
            group=group,
            after=rate(own.kept, own.missed - len(taken), self.settings.min_n),
            shared=sum(self._shares(one, unit) for one in self.outcomes),
            others=sum(
                not one.kept and one.holder == unit and one.charge.link not in ("department", SHARED)
                for one in self.outcomes
            ),
            hours=self._hours(unit),
            sign=acts.sign,
            answer=acts.answer,
            returned=acts.returned,
            reassigned=acts.reassigned,
            yellow=sum(card.kind == "yellow" for card in self._cards(unit)),
            red=len(reds),
            red_not_own=sum(not self._own(card.clock, unit) for card in reds),
            reopened=acts.reopened,
            promises_broken=self._broken(unit),
            measures=len(measures),
            measures_after=sum(not self._lifted(one, unit) for one in measures),
            open=sum(
                not is_over(case.now.state) and self.unit(case.now.department) == unit for case in self.cases
            ),
            appeals_waiting=sum(one.unit == unit and one.state == "filed" for one in self.appeals),
            remarks=tuple(
                one.decision_reason
                for one in self.appeals
                if one.unit == unit and one.about == f"row:{self.span.name}" and one.state in TAKEN_AWAY
            ),
            kept_numbers=tuple(sorted({one.case.story.number for one in kept})),
            missed_numbers=tuple(sorted({one.case.story.number for one in missed})),
            numbers=tuple(sorted(numbers_of)),
        )

    def _appeal(self, one: _Outcome, unit: str) -> AppealView | None:
        """The appeal of a department against one missed clock."""
        about = f"clock:{one.clock.rule_id}:{one.clock.round}"
        return next(
            (
                appeal
                for appeal in self.appeals
                if appeal.incident_id == one.case.story.id and appeal.about == about and appeal.unit == unit
            ),
            None,
        )

    def _taken(self, one: _Outcome) -> bool:
        """Whether an appeal of the department that is charged has taken this miss away."""
        appeal = self._appeal(one, one.charge.department)
        return appeal is not None and appeal.state in TAKEN_AWAY

    def _lifted(self, one: numbers.Measure, unit: str) -> bool:
        return any(
            appeal.incident_id == one.incident_id
            and appeal.about == f"measure:{one.key}"
            and appeal.unit == unit
            and appeal.state in TAKEN_AWAY
            for appeal in self.appeals
        )

    def _own(self, clock_id: int, unit: str) -> bool:
        one = self.charged.get(clock_id)
        return one is not None and one.charge.department == unit

    @staticmethod
    def _shares(one: _Outcome, unit: str) -> bool:
        return not one.kept and one.charge.link == SHARED and ("department", unit) in one.charge.seconds

    @cached_property
    def _promises(self) -> list[Promise]:
        found = promises.promises_of(self.session, self.by_id)
        decided = ("open", "kept", "broken")
        return [one for rows in found.values() for one in rows if one.state in decided]

    def _broken(self, unit: str) -> int | None:
        """Promises that a person found broken in the period; None when no promise of the department was confirmed."""
        own = [one for one in self._promises if self.unit(one.department) == unit]
        if not own:
            return None
        return sum(
            one.state == "broken" and one.decided_at is not None and self._inside(one.decided_at)
            for one in own
        )

    def _hours(self, unit: str) -> int:
        since, as_of = self.span.since, self.span.as_of
        spent = (
            one.within(since, as_of)
            for case in self.cases
            for one in case.found
            if one.link == "department" and one.department == unit
        )
        return round(sum(spent, timedelta(0)).total_seconds())

    def _cards(self, unit: str) -> list[numbers.Card]:
        """Cards dealt while the department had the matter."""
        found = []
        for card in self._all_cards:
            case = self.by_id.get(card.incident_id)
            if case is not None and holder_at(case.tenures, card.at) == unit:
                found.append(card)
        return found

    @cached_property
    def _all_cards(self) -> list[numbers.Card]:
        return numbers.cards(self.session, self.span.since, self.span.as_of)

    @cached_property
    def _measures(self) -> list[numbers.Measure]:
        return numbers.measures(self.session, self.span.since, self.span.as_of)

    def _acts(self, unit: str) -> Acts:
        """What the department did in the period; each case timed from its own assignment."""
        sign: list[tuple[int, str]] = []
        answer: list[tuple[int, str]] = []
        count: Counter[str] = Counter()
        for case in self.cases:
            count_acts(case.story, unit, self.unit, self._inside, sign, answer, count)
        return Acts(took(sign), took(answer), count["returned"], count["reassigned"], count["reopened"])

    def _inside(self, at: datetime) -> bool:
        return self.span.since <= at < self.span.as_of

    def _links(self) -> tuple[LinkLine, ...]:
        since, as_of = self.span.since, self.span.as_of
        found = []
        for part, link in PARTS:
            of_part = [(case, one) for case in self.cases for one in case.found if one.part == part]
            seconds = sum((one.within(since, as_of) for _, one in of_part), timedelta(0))
            ended = [
                (round(one.length.total_seconds()), case.story.number)
                for case, one in of_part
                if one.done and self._inside(one.end)
            ]
            found.append(
                LinkLine(part=part, link=link, seconds=round(seconds.total_seconds()), took=took(ended))
            )
        return tuple(found)

    def _charges(self) -> tuple[LinkCharge, ...]:
        missed = [one for one in self.outcomes if not one.kept]
        return tuple(
            LinkCharge(
                link=link,
                missed=sum(one.charge.link == link for one in missed),
                numbers=tuple(sorted({one.case.story.number for one in missed if one.charge.link == link})),
            )
            for link in (*LINKS, SHARED)
        )

    def _miss(self, one: _Outcome) -> Miss:
        clock, as_of = one.clock, self.span.as_of
        rule = next((rule for rule in self.bundle.rules.rules() if rule.id == clock.rule_id), None)
        closed = clock.closed_at if clock.closed_at is not None and clock.closed_at < as_of else None
        units = (one.charge.department or one.holder, *(unit for _, unit in one.charge.seconds if unit))
        appeal = next((found for unit in units if (found := self._appeal(one, unit))), None)
        return Miss(
            number=one.case.story.number,
            rule=clock.rule_id,
            round=clock.round,
            action=rule.action if rule else "",
            source=rule.source if rule else "",
            quote=rule.quote if rule else "",
            started_at=clock.started_at,
            due_at=clock.due_at,
            closed_at=closed,
            late=round((one.stop - clock.due_at).total_seconds()),
            provisional=clock.provisional,
            holder=one.holder,
            link=one.charge.link,
            department=one.charge.department,
            used=tuple(
                Used(link=link, department=unit, seconds=seconds)
                for (link, unit), seconds in one.charge.seconds.items()
            ),
            appeal=appeal.state if appeal else "",
            changed_to=appeal.changed_to if appeal else "",
        )
