"""值班表: who is on duty now and next, the coming month, stand-ins, swaps and leave, hand-over receipts, readiness, calendars."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse, Response

from alerts import budget, calendar_feeds, trial
from alerts import rota as alerts_rota
from alerts.calendar import WorkCalendar, load_calendar
from config.roster import DAYS, ROLES, OnDuty, Role, Roster
from console.context import Forbidden, RowId, Visit, member
from console.forms import Posted, own_form
from console.render import page
from incidents import calendar_feeds as feeds
from incidents import rota
from incidents.states import Refused

router = APIRouter(include_in_schema=False)
DAYS_SHOWN = 30
#: who may enter changes for others; everybody may for themselves
KEEPERS = frozenset({"supervisor", "leader", "administrator"})


#: test messages are shown for so long
_TESTS = timedelta(days=1)


@dataclass(frozen=True)
class Turn:
    """Somebody begins in a role: at which time of the day, or `at` None for who goes on from the day before."""

    at: datetime | None
    duty: OnDuty


@dataclass(frozen=True)
class DutyDay:
    """One line of the coming month."""

    day: datetime  # its beginning, local
    rest: bool  # weekend or holiday
    names: tuple[str, str]  # weekday, Chinese and English
    special: tuple[str, str]  # name of a holiday, or 调休上班; "" for an ordinary day
    turns: dict[Role, list[Turn]]


@dataclass(frozen=True)
class CalendarAddress:
    """The calendar of one person (or of all, ""): its secret address, "" while it has none."""

    person: str
    made_at: datetime | None = None
    address: str = ""
    subscription: str = ""  # the same for a tap: webcal://


def month(roster: Roster, calendar: WorkCalendar, now: datetime, days: int = DAYS_SHOWN) -> list[DutyDay]:
    """Day by day who is on duty in each role: who goes on from the day before, and each change with its time."""
    zone = calendar.zone
    today = now.astimezone(zone).date()
    first = datetime.combine(today, datetime.min.time(), zone)
    stretches = {role: roster.stretches(role, first, first + timedelta(days=days)) for role in ROLES}
    found = []
    for after in range(days):
        begin = first + timedelta(days=after)
        end = begin + timedelta(days=1)
        day = calendar.day(begin.date())
        ordinary = day.reason in ("workday", "weekend")
        number = begin.weekday()
        turns = {
            role: [
                Turn(start if start > begin else None, duty)
                for start, until, duty in stretches[role]
                if start < end and until > begin
            ]
            for role in ROLES
        }
        found.append(
            DutyDay(
                begin,
                not day.working,
                ("周" + "一二三四五六日"[number], DAYS[number].title()),
                ("", "") if ordinary else (day.name, day.name_en or day.name),
                turns,
            )
        )
    return found


def roster_of(here: Visit) -> Roster:
    """The roster in force."""
    with here.console.db.reading() as session:
        return alerts_rota.in_force(session, here.console.bundle, here.now).roster


def me(here: Visit, roster: Roster) -> str:
    """The person of the roster who is logged in: the same id, or the same name; "" for others."""
    account = here.account
    for person in roster.people:
        if person.id == account.login or person.name == account.display_name:
            return person.id
    return ""


def _addresses(here: Visit, roster: Roster) -> list[CalendarAddress]:
    """The calendars that a person may manage or, that of all, use."""
    mine, keeper = me(here, roster), here.account.role in KEEPERS
    with here.console.db.reading() as session:
        live = {feed.person: feed for feed in feeds.live(session)}
    people = {person.id: None for person in roster.people} if keeper else {mine: None} if mine else {}
    # whoever left the roster keeps the line until the address is revoked
    wanted = [*people, *(person for person in live if keeper and person and person not in people)]
    if keeper or (mine and "" in live):
        wanted.append("")
    found = []
    for person in sorted(wanted, key=lambda one: one != mine):
        feed = live.get(person)
        if feed is None:
            found.append(CalendarAddress(person))
            continue
        address = calendar_feeds.address(here.console.bundle, here.console.keys, feed)
        found.append(CalendarAddress(person, feed.made_at, address, calendar_feeds.subscription(address)))
    return found


def _local(here: Visit, raw: str) -> datetime:
    try:
        at = datetime.fromisoformat(raw)
    except ValueError:
        raise Refused(
            "时间格式不对，应为 2026-11-24T09:30。", "the time must look like 2026-11-24T09:30"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=here.console.zone)


def _show(here: Visit, *, status: int = 200, error: str = "", draft: Posted | None = None) -> Response:
    if here.account.role == "department":
        raise Forbidden("部门承办人不能查看值班表。")
    bundle = here.console.bundle
    roster = roster_of(here)
    calendar = load_calendar(bundle.settings.config_dir, bundle.settings.city.timezone)
    with here.console.db.reading() as session:
        changes = rota.changes(session, here.now, states=("taken", "asked"))
        handovers = rota.handovers(session, here.now - timedelta(days=3))
        tests = trial.results(session, here.now - _TESTS)
        uses = {use.role: use for use in budget.used(session, replace(bundle, roster=roster), here.now)}
    return page(
        here,
        "roster.html",
        status=status,
        error=error,
        roster=roster,
        names={person.id: person.name for person in roster.people},
        now_on={role: roster.on_duty(here.now, role) for role in ROLES},
        month=month(roster, calendar, here.now),
        tests=tests,
        changes=changes,
        handovers=handovers,
        findings=alerts_rota.readiness(roster, calendar, here.now),
        roles=ROLES,
        uses=uses,
        mine=me(here, roster),
        calendars=_addresses(here, roster),
        keeper=here.account.role in KEEPERS,
        draft=draft or {},
        done=here.done,
    )


@router.get("/roster")
def roster_page(here: Annotated[Visit, Depends(member)]) -> Response:
    """The roster."""
    return _show(here)


@router.get("/roster.ics")
def roster_ics(here: Annotated[Visit, Depends(member)], person: str = "") -> Response:
    """Sixty days for a calendar program: one person's shifts, or all."""
    if here.account.role == "department":
        raise Forbidden("部门承办人不能查看值班表。")
    content = alerts_rota.as_ical(roster_of(here), here.now, person=person)
    return Response(
        content,
        media_type="text/calendar; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="roster.ics"'},
    )


@router.post("/roster/calendar")
def calendar(here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]) -> Response:
    """Make, replace or revoke a calendar's address: one's own, or as a keeper anybody's and that of all."""
    roster = here.console.bundle.roster
    mine, keeper = me(here, roster), here.account.role in KEEPERS
    person = form.text("person", 60)
    if not keeper and (not mine or person != mine):
        raise Forbidden("只能管理本人的日历订阅；其他人和全队的由值班管理人员管理。")
    act = form.text("act", 12)
    try:
        if act not in ("make", "revoke"):
            raise Refused("未知的操作。", f"unknown act {act!r}")
        if act == "make" and person and roster.person(person) is None:
            raise Refused("值班表中没有该人员。", "nobody of the roster has this id")
        with here.console.db.transaction() as session:
            do = feeds.make if act == "make" else feeds.revoke
            do(session, person, by=here.account.login, channel="console", now=here.now)
    except Refused as refusal:
        return _show(here, status=409, error=refusal.en if here.lang == "en" else refusal.zh)
    return RedirectResponse(f"/roster?done=feed_{act}#calendars", 303)


@router.post("/roster/change")
def change(here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]) -> Response:
    """Enter a stand-in or leave, or ask for a swap."""
    roster = roster_of(here)
    mine, keeper = me(here, roster), here.account.role in KEEPERS
    person = form.text("person", 60) or mine
    if not keeper and (not mine or person != mine):
        raise Forbidden("只能为本人登记；替他人登记请联系值班管理人员。")
    known = {item.id for item in roster.people}
    try:
        stand_in = form.text("stand_in", 60)
        if person not in known or (stand_in and stand_in not in known):
            raise Refused("值班表中没有该人员。", "nobody of the roster has this id")
        with here.console.db.transaction() as session:
            rota.add(
                session,
                kind=form.text("kind", 12),
                role=form.text("role", 12),
                person=person,
                stand_in=stand_in,
                start=_local(here, form.text("start", 30)),
                until=_local(here, form.text("until", 30)),
                reason=form.text("reason"),
                by=here.account.login,
                channel="console",
                now=here.now,
            )
    except Refused as refusal:
        return _show(here, status=409, error=refusal.en if here.lang == "en" else refusal.zh, draft=form)
    return RedirectResponse("/roster?done=roster", 303)


@router.post("/roster/change/{change_id}")
def decide(
    change_id: RowId, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Take or decline a swap, or withdraw a change."""
    roster = roster_of(here)
    mine, keeper = me(here, roster), here.account.role in KEEPERS
    with here.console.db.reading() as session:
        found = {item.id: item for item in rota.changes(session, here.now, states=("taken", "asked"))}
    state = form.text("decision", 12)
    item = found.get(change_id)
    if item is not None and state in ("taken", "declined") and mine != item.stand_in:
        raise Forbidden("换班须由对方本人同意。")
    if item is not None and state == "withdrawn" and not keeper and mine != item.person:
        raise Forbidden("只能撤回本人的变更。")
    try:
        if state not in ("taken", "declined", "withdrawn"):
            raise Refused("未知的操作。", f"unknown decision {state!r}")
        with here.console.db.transaction() as session:
            rota.decide(session, change_id, state, by=here.account.login, channel="console", now=here.now)
    except Refused as refusal:
        return _show(here, status=409, error=refusal.en if here.lang == "en" else refusal.zh)
    return RedirectResponse("/roster?done=roster", 303)


@router.post("/roster/test")
def test(here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]) -> Response:
    """A marked test message to one person through each of their channels."""
    roster = roster_of(here)
    mine, keeper = me(here, roster), here.account.role in KEEPERS
    person = form.text("person", 60) or mine
    if not keeper and (not mine or person != mine):
        raise Forbidden("只能测试本人的渠道；测试他人的渠道请联系值班管理人员。")
    try:
        with here.console.db.transaction() as session:
            bundle = replace(here.console.bundle, roster=roster)
            trial.start(session, bundle, person, "", by=here.account.login, through="console", now=here.now)
    except Refused as refusal:
        return _show(here, status=409, error=refusal.en if here.lang == "en" else refusal.zh)
    return RedirectResponse("/roster?done=tested#tests", 303)


@router.post("/roster/handover/{handover_id}")
def handover(
    handover_id: RowId, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """交班 or 接班, each by the person concerned."""
    side = form.text("side", 6)
    try:
        if side not in ("given", "taken"):
            raise Refused("未知的操作。", f"unknown side {side!r}")
        with here.console.db.transaction() as session:
            rota.sign(
                session,
                handover_id,
                side,
                by=me(here, here.console.bundle.roster),
                note=form.text("note"),
                channel="console",
                now=here.now,
            )
    except Refused as refusal:
        return _show(here, status=409, error=refusal.en if here.lang == "en" else refusal.zh)
    return RedirectResponse("/roster?done=handover", 303)
