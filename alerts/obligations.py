"""Duties of the notice that come back or are set off by something: opened ahead, reminded of, called overdue.

Monthly, quarterly and yearly ones are opened for the running period; ">= 2 a year" is two of a year. What an act sets
off (a recall, a document) is entered by a person. 及时 and gates have no end that could be counted and are listed only.
Reminders are calm: at most one message a day to each unit, on working days, never a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from alerts import ladder
from alerts.clocks import DueAt, compute_deadline, end_of_day
from alerts.desk import Desk
from alerts.ladder import Way
from alerts.message import Message, notice
from alerts.wording import Wording
from config.bundle import Bundle
from config.departments import Department
from config.rules import Rule
from incidents import beats, obligations, outbox
from incidents.obligations import ObligationView
from incidents.states import Refused

BEAT, REMINDED, KIND = "alerts.obligations", "alerts.obligations.day", "obligation"
#: when offices open: reminders leave then
_OFFICE_OPENS = time(8, 30)
#: how far the reminder at the beginning of a week looks ahead
_AHEAD = timedelta(days=7)
_LINES = 20
_COLOUR = "#1f5fa8"


@dataclass(frozen=True)
class Period:
    """One turn of a recurring duty: its name (2026-11, 2026-Q4, 2026, 2026#2) with first and last day."""

    name: str
    first: date
    last: date


def units_of(bundle: Bundle, rule: Rule) -> tuple[list[Department], list[str]]:
    """Departments of today that the rule's names of 2018 mean, and names that nobody bears."""
    found: dict[str, Department] = {}
    unknown = []
    for name in rule.units:
        if name == "各县区政府":
            some = [unit for unit in bundle.departments.departments if unit.kind == "district"]
        elif name in ("市政府各部门", "市政府有关部门"):
            some = [unit for unit in bundle.departments.departments if unit.kind == "city"]
        else:
            one = bundle.departments.named(name)
            # 历下区政府 of the notice is 历下区人民政府 in the file
            one = one or bundle.departments.government_of(name.removesuffix("人民政府").removesuffix("政府"))
            some = [one] if one else []
        if not some:
            unknown.append(name)
        found.update((unit.id, unit) for unit in some)
    return list(found.values()), unknown


def rhythm(rule: Rule) -> str:
    """monthly, quarterly, annual, count for duties that come back; "" for others. 定期 takes the interval proposed."""
    if rule.kind == "response":
        return ""
    if rule.deadline.per_year:
        return "count"
    if rule.deadline.period == "periodic":
        return rule.interval or ""
    return rule.deadline.period if rule.deadline.period in ("monthly", "quarterly", "annual") else ""


def periods(rule: Rule, day: date) -> list[Period]:
    """The running periods of a recurring duty on a local day; none for other rules."""
    kind = rhythm(rule)
    if kind == "monthly":
        first = day.replace(day=1)
        return [Period(f"{day:%Y-%m}", first, _before(first, 1))]
    if kind == "quarterly":
        quarter = (day.month - 1) // 3
        first = date(day.year, quarter * 3 + 1, 1)
        return [Period(f"{day.year}-Q{quarter + 1}", first, _before(first, 3))]
    year = (date(day.year, 1, 1), date(day.year, 12, 31))
    if kind == "annual":
        return [Period(str(day.year), *year)]
    if kind == "count":
        return [Period(f"{day.year}#{n + 1}", *year) for n in range(rule.deadline.per_year or 0)]
    if rule.deadline.day and rule.deadline.day >= day:
        return [Period(rule.deadline.day.isoformat(), day, rule.deadline.day)]
    return []


def _before(first: date, months: int) -> date:
    """The last day of `months` months that begin on `first`."""
    index = first.month - 1 + months
    return date(first.year + index // 12, index % 12 + 1, 1) - timedelta(days=1)


def triggered(bundle: Bundle) -> list[Rule]:
    """Rules that a person sets off: an act happened, from which a number of hours or days runs."""
    return [
        rule
        for rule in bundle.rules.rules()
        if rule.countable and rule.starts_on == "external" and rule.kind in ("obligation", "response")
    ]


def uncounted(bundle: Bundle) -> list[Rule]:
    """Duties without an end that could be counted (及时, 决策前, a day of 2018 that has passed)."""
    return [
        rule
        for rule in bundle.rules.rules("obligation")
        if not rule.countable and not rhythm(rule) and not rule.deadline.refers_to
    ]


def due(desk: Desk) -> bool:
    """Whether `work` would find something to open, to note or to remind of."""
    day = desk.calendar.local_day(desk.now)
    known = beats.get_beat(desk.session, BEAT)
    return (
        known is None
        or known.value.get("mark") != _mark(desk, day)
        or obligations.any_missed(desk.session, desk.now)
        or _reminders_due(desk, day)
    )


def _mark(desk: Desk, day: date) -> str:
    """What the running periods follow from."""
    return f"{day}/{desk.bundle.rules.version}/{len(desk.bundle.departments.departments)}"


def work(desk: Desk) -> bool:
    """Open the running periods, note what has run out, remind on working mornings. True when there may be more."""
    day = desk.calendar.local_day(desk.now)
    mark = _mark(desk, day)
    known = beats.get_beat(desk.session, BEAT)
    if known is None or known.value.get("mark") != mark:
        _open_running(desk, day)
        beats.beat(desk.session, BEAT, desk.now, {"mark": mark})
    missed = obligations.notice_missed(desk.session, desk.now)
    desk.counts.overdue += missed
    if missed:
        return True
    _remind_once(desk, day)
    return False


def _open_running(desk: Desk, day: date) -> None:
    for rule in desk.bundle.rules.rules():
        for period in periods(rule, day):
            units, _ = units_of(desk.bundle, rule)
            due = _period_end(desk, rule, period)
            obligations.open_period(
                desk.session,
                rule.id,
                [unit.id for unit in units],
                period.name,
                trigger="",
                started_at=datetime.combine(period.first, time(), desk.calendar.zone),
                due_at=due.due_at,
                provisional=False,
                calendar_version=due.calendar_version,
                trace=due.trace,
                now=desk.now,
            )


def _period_end(desk: Desk, rule: Rule, period: Period) -> DueAt:
    lines = [desk.say("期间：{first} 至 {last}，末日 24:00 截止", first=period.first, last=period.last)]
    if rule.deadline.per_year:
        lines.append(desk.say("全年不少于{n}次", n=rule.deadline.per_year))
    if rule.deadline.period == "periodic":
        lines.append(desk.say("条款只写“定期”，间隔为本系统建议，非法定"))
    return DueAt(
        end_of_day(period.last, desk.calendar), False, desk.calendar.version, tuple(lines), period.last
    )


def add(
    desk: Desk, rule_id: str, unit: str, trigger: str, at: datetime, *, actor: str, channel: str
) -> ObligationView:
    """A person enters what set a duty off (S01: a recall was decided on). Tells the unit. Raises Refused.

    `trigger` names the occasion (number of the decision); the same one for the same unit is entered once.
    """
    rule = next((one for one in triggered(desk.bundle) if one.id == rule_id), None)
    known = "、".join(one.id for one in triggered(desk.bundle))
    if rule is None:
        raise Refused(
            f"{rule_id} 不是由事项触发、可计时的义务；可登记：{known}。",
            f"{rule_id} is no duty that an act sets off and that can be counted; these can: {known}",
        )
    department = desk.bundle.departments.get(unit) or desk.bundle.departments.named(unit)
    if department is None:
        raise Refused(
            f"departments.yaml 中没有单位“{unit}”。",
            f"no unit {unit!r} in departments.yaml; use its id or name",
        )
    named, _ = units_of(desk.bundle, rule)
    if named and department.id not in {one.id for one in named}:
        raise Refused(
            f"{rule.id} 的责任单位不含{department.name}。", f"{rule.id} is no duty of {department.id}"
        )
    if not trigger.strip():
        raise Refused("请填写触发事项（如文号）。", "name what set it off (the number of the document)")
    if at > desk.now:
        raise Refused("触发时间不能晚于现在。", "its time lies in the future")
    due = compute_deadline(rule, at, desk.calendar, desk.say)
    new = obligations.open_period(
        desk.session,
        rule.id,
        [department.id],
        trigger.strip()[:60],
        trigger=trigger.strip(),
        started_at=at,
        due_at=due.due_at,
        provisional=due.provisional,
        calendar_version=due.calendar_version,
        trace=due.trace,
        now=desk.now,
        actor=actor,
        channel=channel,
    )
    if not new:
        raise Refused(
            f"{department.name}的该事项已登记。", f"{rule.id} of {department.id} for {trigger!r} stands there"
        )
    row = next(
        row
        for row in obligations.listed(desk.session, desk.now, unit=department.id, rule_id=rule.id)
        if row.period == trigger.strip()[:60]
    )
    _tell(desk, department, [row], f"new:{row.id}")
    return row


def recount(desk: Desk, after_id: int, limit: int) -> int:
    """The calendar has changed: count open triggered duties again; returns the last number, 0 at the end."""
    found = obligations.open_after(desk.session, after_id, limit)
    countable = {rule.id: rule for rule in triggered(desk.bundle) if rule.unit != "calendar_hours"}
    for row in found:
        rule = countable.get(row.rule_id)
        if rule is None or not row.trigger:
            continue
        due = compute_deadline(rule, row.started_at, desk.calendar, desk.say)
        if (due.due_at, due.provisional) == (row.due_at, row.provisional):
            continue
        note = desk.say(
            "放假安排有变，重新计算：原截止 {due}，原历表 {old}，现历表 {new}",
            due=desk.say.at(row.due_at),
            old=row.calendar_version,
            new=desk.calendar.version,
        )
        obligations.move(
            desk.session,
            row.id,
            why="calendar",
            due_at=due.due_at,
            provisional=due.provisional,
            calendar_version=due.calendar_version,
            trace=[*due.trace, "＋ " + note],
            now=desk.now,
        )
    return found[-1].id if len(found) == limit else 0


# --- reminders ----------------------------------------------------------------------------------------------------


def _reminders_due(desk: Desk, day: date) -> bool:
    """Whether this is a working day after the office has opened, without reminders so far."""
    local = desk.now.astimezone(desk.calendar.zone)
    if local.time() < _OFFICE_OPENS or not desk.calendar.day(day).working:
        return False
    known = beats.get_beat(desk.session, REMINDED)
    return known is None or known.value.get("day") != day.isoformat()


def _remind_once(desk: Desk, day: date) -> None:
    if not _reminders_due(desk, day):
        return
    lost: list[ObligationView] = []
    for unit, rows in _to_say(desk, day).items():
        department = desk.bundle.departments.get(unit)
        if department is not None and _ways(desk, department):
            _tell(desk, department, rows, day.isoformat())
        else:
            lost += rows
    if lost:
        _tell_duty(desk, lost, day.isoformat())
    beats.beat(desk.session, REMINDED, desk.now, {"day": day.isoformat()})


def _to_say(desk: Desk, day: date) -> dict[str, list[ObligationView]]:
    """By unit: at the beginning of a week what ends within seven days and what is overdue; else only what is urgent.

    Urgent: ends before the next working day is over, or has run out since the last working day began.
    """
    monday = day - timedelta(days=day.weekday())
    week_begins = not any(
        desk.calendar.day(monday + timedelta(days=n)).working for n in range((day - monday).days)
    )
    soon = end_of_day(desk.calendar.next_workday(day).date, desk.calendar)
    last = day - timedelta(days=1)
    while not desk.calendar.day(last).working:
        last -= timedelta(days=1)
    since = datetime.combine(last, _OFFICE_OPENS, desk.calendar.zone)
    found: dict[str, list[ObligationView]] = {}
    for row in obligations.open_due_before(desk.session, max(soon, desk.now + _AHEAD)):
        if week_begins or since <= row.due_at <= soon:
            found.setdefault(row.unit, []).append(row)
    return found


def _ways(desk: Desk, unit: Department) -> list[Way]:
    """How a unit's office is reached; nothing when departments.yaml names no address."""
    ways = []
    if unit.contact.email:
        ways.append(Way("email", unit.contact.email))
    if unit.contact.slack_channel and ladder.slack_ready(desk.bundle):
        ways.append(Way("slack", unit.contact.slack_channel))
    return ways


def _tell(desk: Desk, unit: Department, rows: Sequence[ObligationView], occasion: str) -> None:
    """One message to the unit's office; without an address, to the duty officer."""
    ways = _ways(desk, unit)
    if not ways:
        _tell_duty(desk, rows, occasion)
        return
    link = f"/obligations?unit={unit.id}"
    _post(desk, ways, write(desk, unit.name, rows, link), unit.id, occasion)


def _tell_duty(desk: Desk, rows: Sequence[ObligationView], occasion: str) -> None:
    """One message to the duty officer about all units that have no address."""
    person = ladder.on_duty(desk.bundle, "primary", desk.now)
    way = Way("email", person.email) if person.email else Way("folder", person.person_id)
    units = list(dict.fromkeys(row.unit for row in rows))
    name = desk.bundle.departments.zh(units[0])
    if len(units) > 1:
        name = desk.say("{unit}等{n}个未配置联系方式的单位", unit=name, n=len(units))
    message = write(desk, name, rows, "/obligations", with_unit=len(units) > 1)
    _post(desk, [way], message, "no-address", occasion)


def _post(desk: Desk, ways: Sequence[Way], message: Message, unit: str, occasion: str) -> None:
    for way in ways:
        new = outbox.enqueue(
            desk.session,
            id=outbox.message_id(None, 0, 0, way.recipient, way.channel, KIND, f"{unit}:{occasion}"),
            incident_id=None,
            kind=KIND,
            recipient=way.recipient,
            channel=way.channel,
            priority=8,
            message=message.for_channel(way.channel, f"obligations-{unit}"),
            now=desk.now,
        )
        desk.counts.messages += new


def write(
    desk: Desk, unit: str, rows: Sequence[ObligationView], path: str, *, with_unit: bool = False
) -> Message:
    """What a unit owes: the first line says how much and how much of it is overdue."""
    say = desk.say
    over = sum(row.overdue(desk.now) for row in rows)
    title = say("【公开义务】{unit}：{n}项待办", unit=unit, n=len(rows))
    if over:
        title += say("，其中逾期{n}项", n=over)
    zh = desk.bundle.departments.zh
    lines = [
        f"· {zh(row.unit) + ' ' if with_unit else ''}{line_of(desk.bundle, say, row, desk.now)}"
        for row in rows[:_LINES]
    ]
    if len(rows) > _LINES:
        lines.append(say("另有{n}项，见台账", n=len(rows) - _LINES))
    lines.append(say("办结后请在工作台“公开义务台账”登记公开链接或文号。"))
    return notice(title, lines, say.language, _COLOUR, desk.bundle.settings.link_base + path)


def line_of(bundle: Bundle, say: Wording, row: ObligationView, now: datetime) -> str:
    """ "S04 网站发布疫情信息（2026-11）：截止 11月30日(周一) 24:00，还有2天3小时"."""
    rule = next((one for one in bundle.rules.rules() if one.id == row.rule_id), None)
    head = f"{row.rule_id} {say(rule.action) if rule else ''}".strip()
    if row.overdue(now):
        state = say("已逾期{span}", span=say.span(now - row.due_at))
    else:
        state = say("还有{span}", span=say.span(row.due_at - now))
    if row.provisional:
        state += say("（暂定）")
    return say(
        "{head}（{period}）：截止 {due}，{state}",
        head=head,
        period=row.period,
        due=say.at(row.due_at),
        state=state,
    )


def heartbeat_line(desk: Desk) -> str:
    """One line for the daily message: what ends within seven days and what is overdue."""
    rows = obligations.open_due_before(desk.session, desk.now + _AHEAD)
    over = sum(row.overdue(desk.now) for row in rows)
    return desk.say("公开义务：7天内到期{n}项，已逾期{over}项。", n=len(rows) - over, over=over)
