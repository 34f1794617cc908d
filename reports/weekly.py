"""Build the weekly report: every figure a fold over events or a count of rows, for any ISO week.

`build_weekly` reads through `incidents.weekly_numbers`, decides nothing and writes nothing. A figure that the data
does not hold is None or an empty tuple, never a guess.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from statistics import median
from zoneinfo import ZoneInfo

from config.bundle import Bundle
from incidents import weekly_numbers as numbers
from incidents.session import Session
from incidents.states import LEVELS, Situation, State
from incidents.weekly_numbers import Clock, PostCell, Story
from reports.model import (
    AuditHead,
    CountRow,
    DayRow,
    DepartmentRow,
    FalseAlarmLine,
    IncidentLine,
    LinkRow,
    MergedLine,
    MissedLine,
    RuleRow,
    SourceRow,
    Volume,
    WeeklyModel,
)
from reports.story import (
    LINKS,
    department_at,
    detection,
    holders,
    is_over,
    last,
    published_at,
    rounds,
    situation,
    within,
)

_WEEK = re.compile(r"^(\d{4})-W(\d{2})$")
#: an older incident counts as growing from this many posts in the week; below it, one post more is no news
GROWTH_MIN = 3


class WeekError(ValueError):
    """The week is not an ISO week, or lies in the future."""


@dataclass(frozen=True)
class Period:
    """One ISO week in local time. `as_of` is its end, or now while it runs."""

    week: str
    days: tuple[datetime, ...]  # eight local midnights
    before: tuple[datetime, ...]  # of the week before
    as_of: datetime
    zone: ZoneInfo

    @property
    def since(self) -> datetime:
        """Monday 00:00."""
        return self.days[0]

    @property
    def until(self) -> datetime:
        """Monday 00:00 of the next week."""
        return self.days[-1]


def week_of(day: date) -> str:
    """The ISO week of a day, as `2026-W47`."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


def week_before(now: datetime, zone: ZoneInfo) -> str:
    """The last whole week."""
    return week_of(now.astimezone(zone).date() - timedelta(days=7))


def period_of(week: str, now: datetime, zone: ZoneInfo) -> Period:
    """Bounds of an ISO week. Raises WeekError with what was expected."""
    found = _WEEK.match(week)
    try:
        monday = date.fromisocalendar(int(found[1]), int(found[2]), 1) if found else None
    except ValueError:
        monday = None
    if monday is None:
        raise WeekError(
            f"week {week!r} does not exist: write an ISO week as YYYY-Www, for example {week_before(now, zone)}"
        )

    def midnights(first: date) -> tuple[datetime, ...]:
        return tuple(
            datetime.combine(first + timedelta(days=index), time(), tzinfo=zone) for index in range(8)
        )

    days = midnights(monday)
    if days[0] > now:
        raise WeekError(
            f"week {week} has not begun: the latest one is {week_of(now.astimezone(zone).date())}"
        )
    return Period(week, days, midnights(monday - timedelta(days=7)), min(days[-1], now), zone)


def build_weekly(session: Session, bundle: Bundle, week: str, now: datetime) -> WeeklyModel:
    """The weekly report of one ISO week as it stood at its end (or at `now` while the week runs).

    Raises WeekError when `week` is no ISO week or lies ahead.
    """
    city, reports = bundle.settings.city, bundle.settings.reports
    period = period_of(week, now, ZoneInfo(city.timezone))
    cells = numbers.post_cells(session, period.days)
    cells_before = numbers.post_cells(session, period.before)
    desk = _Desk(session, period)
    department_names = {entry.id: entry.zh for entry in bundle.departments.departments}
    rules, missed, outcomes = _clocks(desk, bundle, numbers.clocks(session, period.since, period.as_of))
    head = numbers.head_before(session, period.as_of)
    return WeeklyModel(
        week=week,
        city=city.name,
        timezone=city.timezone,
        since=period.since,
        until=period.until,
        as_of=period.as_of,
        generated_at=now,
        min_sample=reports.min_sample,
        volume=_volume(cells, cells_before),
        days=_days(period, cells, cells_before),
        domains=_counts(cells, cells_before, lambda cell: (cell.domain,) if cell.domain else ()),
        districts=_counts(cells, cells_before, lambda cell: cell.districts),
        no_district=sum(cell.posts for cell in cells if not cell.districts),
        links=_links(desk),
        rules=rules,
        missed=missed,
        departments=_departments(desk, outcomes, department_names),
        sources=_sources(bundle, numbers.source_counts(session, period.days)),
        rules_version=bundle.rules.version,
        department_names=department_names,
        audit=AuditHead(seq=head.seq, hash=head.hash),
        **desk.matters(),
    )


# --- posts -----------------------------------------------------------------------------------------------------


def _volume(cells: Sequence[PostCell], before: Sequence[PostCell]) -> Volume:
    def count(among: Sequence[PostCell], tone: str = "") -> int:
        return sum(cell.posts for cell in among if cell.tone and tone in ("", cell.tone))

    return Volume(
        posts=sum(cell.posts for cell in cells),
        before=sum(cell.posts for cell in before),
        copies=sum(cell.copies for cell in cells),
        judged=count(cells),
        negative=count(cells, "neg"),
        neutral=count(cells, "neu"),
        positive=count(cells, "pos"),
        judged_before=count(before),
        negative_before=count(before, "neg"),
    )


def _days(period: Period, cells: Sequence[PostCell], before: Sequence[PostCell]) -> tuple[DayRow, ...]:
    posts, tones, old = Counter[int](), Counter[tuple[int, str]](), Counter[int]()
    for cell in cells:
        posts[cell.day] += cell.posts
        tones[cell.day, cell.tone] += cell.posts
    for cell in before:
        old[cell.day] += cell.posts
    return tuple(
        DayRow(
            day=start.date(),
            posts=posts[index],
            negative=tones[index, "neg"],
            neutral=tones[index, "neu"],
            positive=tones[index, "pos"],
            before=old[index],
        )
        for index, start in enumerate(period.days[:-1])
    )


def _counts(
    cells: Sequence[PostCell], before: Sequence[PostCell], keys: Callable[[PostCell], Iterable[str]]
) -> tuple[CountRow, ...]:
    """Posts by key in both weeks, the largest first."""
    posts, negative, old = Counter[str](), Counter[str](), Counter[str]()
    for cell in cells:
        for key in set(keys(cell)):
            posts[key] += cell.posts
            negative[key] += cell.posts if cell.tone == "neg" else 0
    for cell in before:
        for key in set(keys(cell)):
            old[key] += cell.posts
    order = sorted(posts | old, key=lambda key: (-posts[key], -old[key], key))
    return tuple(CountRow(id=key, posts=posts[key], before=old[key], negative=negative[key]) for key in order)


def _sources(bundle: Bundle, counts: Sequence[numbers.SourceCount]) -> tuple[SourceRow, ...]:
    """Configured sources and those that gave posts anyway (imports, removed ones); the silent ones last."""
    given = {count.source_id: count for count in counts}
    configured = {source.id: source for source in bundle.sources}
    rows = []
    for source_id in sorted(given.keys() | configured.keys()):
        count, source = given.get(source_id), configured.get(source_id)
        rows.append(
            SourceRow(
                id=source_id,
                name=source.name if source else source_id,
                enabled=source.enabled if source else False,
                posts=count.posts if count else 0,
                days=count.days if count else 0,
                last_at=count.last_at if count else None,
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.posts, not row.enabled, row.id)))


# --- incidents -------------------------------------------------------------------------------------------------


class _Desk:
    """The incidents of the period with their situation at its end."""

    def __init__(self, session: Session, period: Period) -> None:
        self.period = period
        self.stories = [
            story
            for story in numbers.stories(session, period.since, period.as_of)
            if any(event.kind == "detected" for event in story.events)
        ]
        self.by_id = {story.id: story for story in self.stories}
        self.situations = {story.id: situation(story.events) for story in self.stories}
        self.posts = self._rolled_up(numbers.incident_posts(session, period.since, period.as_of))
        self.posts_before = self._rolled_up(
            numbers.incident_posts(session, period.before[0], period.before[-1])
        )

    def root(self, incident_id: int) -> int:
        """The incident that stands for this one after merges."""
        seen = {incident_id}
        while (now := self.situations.get(incident_id)) is not None and now.state == State.MERGED:
            if now.parent_id is None or now.parent_id in seen:
                break
            incident_id = now.parent_id
            seen.add(incident_id)
        return incident_id

    def _rolled_up(self, posts: dict[int, int]) -> Counter[int]:
        total = Counter[int]()
        for incident_id, count in posts.items():
            total[self.root(incident_id)] += count
        return total

    def happened(self, story: Story, kind: str) -> bool:
        """Whether an event of this kind fell into the period."""
        return bool(within(story, kind, self.period.since, self.period.as_of))

    def line(self, story: Story) -> IncidentLine:
        """One incident as the report tells it."""
        now, raised = self.situations[story.id], detection(story)
        answers = [event for event in story.events if event.kind == "responded" and event.round == now.round]
        score = (
            last(story, "evaluated").get("score") if now.state in (State.EVALUATED, State.CLOSED) else None
        )
        return IncidentLine(
            number=story.number,
            title=story.title,
            domain=story.domain,
            district=story.district,
            level=now.level,
            state=str(now.state),
            track=now.track,
            why=now.why,
            department=now.department,
            posts=self.posts[story.id],
            posts_before=self.posts_before[story.id],
            first_posted_at=story.first_posted_at,
            detected_at=raised.occurred_at,
            responded_at=published_at(answers[0]) if answers else None,
            closed_at=now.times.get("closed_at") if now.state == State.CLOSED else None,
            score=None if score is None else float(score),
            round=now.round,
        )

    def matters(self) -> dict[str, object]:
        """What mattered: new, growing, closed, other open incidents; false alarms and merges apart."""
        detected = [story for story in self.stories if self.happened(story, "detected")]
        fresh = {story.id for story in detected}
        parts: dict[str, list[IncidentLine]] = defaultdict(list)
        for story in self.stories:
            part = self._part(story, self.situations[story.id], story.id in fresh)
            if part:
                parts[part].append(self.line(story))

        def order(line: IncidentLine) -> tuple[int, int, str]:
            return -LEVELS.index(line.level), -line.posts, line.number

        return {
            "detected": len(detected),
            "manual": sum(detection(story).payload.get("track") == "manual" for story in detected),
            "confirmed": sum(self.happened(story, "confirmed") for story in self.stories),
            **{
                name: tuple(sorted(parts[name], key=order))
                for name in ("new", "growing", "closed", "other_open")
            },
            "reopened": tuple(story.number for story in self.stories if self.happened(story, "reopened")),
            "false_alarms": tuple(self._false_alarms()),
            "merged": tuple(self._merged()),
        }

    def _part(self, story: Story, now: Situation, fresh: bool) -> str:
        """Where an incident stands in the report: each in one place only."""
        if now.state == State.CLOSED:
            return "closed" if self.happened(story, "closed") else ""
        if is_over(now.state):
            return ""
        if fresh:
            return "new"
        grows = self.posts[story.id] >= GROWTH_MIN and self.posts[story.id] > self.posts_before[story.id]
        return "growing" if grows else "other_open"

    def _false_alarms(self) -> Iterable[FalseAlarmLine]:
        for story in self.stories:
            if self.situations[story.id].state != State.FALSE_ALARM or not self.happened(
                story, "false_alarm"
            ):
                continue
            said = last(story, "false_alarm")
            yield FalseAlarmLine(
                number=story.number,
                title=story.title,
                track=self.situations[story.id].track,
                reason=str(said.get("reason", "other")),
                note=str(said.get("note", "")),
            )

    def _merged(self) -> Iterable[MergedLine]:
        for story in self.stories:
            if self.situations[story.id].state == State.MERGED and self.happened(story, "merged"):
                parent = self.by_id.get(self.root(story.id))
                yield MergedLine(number=story.number, parent=parent.number if parent else "")


def _links(desk: _Desk) -> tuple[LinkRow, ...]:
    """Each link: those that ended in the period, and those of open incidents that have begun and not ended.

    False alarms and merged incidents are left out: nobody owes them an answer. An answer older than the
    assignment waited for nothing: zero, not a negative time.
    """
    ended: dict[str, list[tuple[int, str]]] = defaultdict(list)
    waiting: dict[str, list[tuple[int, str]]] = defaultdict(list)
    since, as_of = desk.period.since, desk.period.as_of
    for story in desk.stories:
        now = desk.situations[story.id]
        if now.state in (State.FALSE_ALARM, State.MERGED):
            continue
        for round_ in rounds(story):
            for name, start, end in LINKS:
                begun, done = round_.times.get(start), round_.times.get(end)
                if begun is None:
                    continue
                if done is not None and since <= done < as_of:
                    ended[name].append((max(0, int((done - begun).total_seconds())), story.number))
                elif done is None and not is_over(now.state) and round_.round == now.round:
                    waiting[name].append((int((as_of - begun).total_seconds()), story.number))
    return tuple(_link(name, ended[name], waiting[name]) for name, _, _ in LINKS)


def _link(name: str, ended: list[tuple[int, str]], waiting: list[tuple[int, str]]) -> LinkRow:
    # the longest first; of equal ones the older incident
    worst = min(ended, key=lambda pair: (-pair[0], pair[1])) if ended else None
    waiting = sorted(waiting, key=lambda pair: (-pair[0], pair[1]))
    return LinkRow(
        id=name,
        n=len(ended),
        median=int(median(seconds for seconds, _ in ended)) if ended else None,
        worst=worst[0] if worst else None,
        worst_number=worst[1] if worst else "",
        waiting=tuple(number for _, number in waiting),
        longest_wait=waiting[0][0] if waiting else None,
    )


# --- clocks and departments ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Outcome:
    """How one clock ended, charged to who held the incident then."""

    number: str
    department: str
    kept: bool


def _clocks(
    desk: _Desk, bundle: Bundle, clocks: Sequence[Clock]
) -> tuple[tuple[RuleRow, ...], tuple[MissedLine, ...], list[_Outcome]]:
    """Clocks by rule, the missed ones one by one, and the outcomes for the department table."""
    since, as_of = desk.period.since, desk.period.as_of
    kept: dict[str, list[str]] = defaultdict(list)
    ran_out: dict[str, list[str]] = defaultdict(list)
    running: Counter[str] = Counter()
    lines: list[MissedLine] = []
    outcomes: list[_Outcome] = []
    for clock in clocks:
        story = desk.by_id.get(clock.incident_id)
        if story is None:
            continue
        closed = clock.closed_at if clock.closed_at is not None and clock.closed_at < as_of else None
        if clock.due_at < min(closed or as_of, as_of):
            holder = department_at(story, clock.due_at)
            action = bundle.rules.rule(clock.rule_id).action
            lines.append(_missed(story, clock, closed, as_of, holder, action, earlier=clock.due_at < since))
            if clock.due_at >= since:
                ran_out[clock.rule_id].append(story.number)
                outcomes.append(_Outcome(story.number, holder, kept=False))
        elif closed is not None:
            kept[clock.rule_id].append(story.number)
            outcomes.append(_Outcome(story.number, department_at(story, closed), kept=True))
        else:
            running[clock.rule_id] += 1
    rows = []
    for rule_id in sorted(kept.keys() | ran_out.keys() | running.keys()):
        rule = bundle.rules.rule(rule_id)
        rows.append(
            RuleRow(
                rule=rule_id,
                action=rule.action,
                source=rule.source,
                quote=rule.quote or "",
                kept=len(kept[rule_id]),
                missed=len(ran_out[rule_id]),
                running=running[rule_id],
                kept_numbers=tuple(sorted(kept[rule_id])),
                missed_numbers=tuple(sorted(ran_out[rule_id])),
            )
        )
    lines.sort(key=lambda line: (line.earlier, -line.late, line.number))
    return tuple(rows), tuple(lines), outcomes


def _missed(
    story: Story,
    clock: Clock,
    closed: datetime | None,
    as_of: datetime,
    holder: str,
    action: str,
    *,
    earlier: bool,
) -> MissedLine:
    return MissedLine(
        number=story.number,
        rule=clock.rule_id,
        action=action,
        department=holder,
        due_at=clock.due_at,
        answered_at=closed,
        late=int(((closed or as_of) - clock.due_at).total_seconds()),
        provisional=clock.provisional,
        earlier=earlier,
    )


def _departments(
    desk: _Desk, outcomes: Sequence[_Outcome], names: dict[str, str]
) -> tuple[DepartmentRow, ...]:
    """Departments that had anything to do in the period, those with most work first. No rank."""
    since, as_of = desk.period.since, desk.period.as_of
    counts: Counter[tuple[str, str]] = Counter()
    cited: dict[str, set[str]] = defaultdict(set)
    answers: dict[str, list[int]] = defaultdict(list)

    def add(department: str, what: str, number: str) -> None:
        if department:
            counts[department, what] += 1
            cited[department].add(number)

    for story in desk.stories:
        now = desk.situations[story.id]
        for event, before in holders(story):
            if since <= event.occurred_at < as_of and event.kind in ("assigned", "returned"):
                holder = str(event.payload["department"]) if event.kind == "assigned" else before
                add(holder, event.kind, story.number)
        if not is_over(now.state):
            add(now.department, "open", story.number)
        for round_ in rounds(story):
            answered, begun = round_.times.get("responded"), round_.times.get("assigned")
            if answered is not None and since <= answered < as_of:
                add(round_.answered_by, "responded", story.number)
                if begun is not None and round_.answered_by:
                    answers[round_.answered_by].append(max(0, int((answered - begun).total_seconds())))
    for outcome in outcomes:
        add(outcome.department, "kept" if outcome.kept else "missed", outcome.number)
    rows = [
        DepartmentRow(
            id=department,
            name=names.get(department, department),
            assigned=counts[department, "assigned"],
            returned=counts[department, "returned"],
            responded=counts[department, "responded"],
            median=int(median(answers[department])) if answers[department] else None,
            worst=max(answers[department], default=None),
            kept=counts[department, "kept"],
            missed=counts[department, "missed"],
            open=counts[department, "open"],
            numbers=tuple(sorted(numbers_)),
        )
        for department, numbers_ in cited.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-len(row.numbers), row.id)))
