"""Alerts of saved searches: so many hits within so many hours are told to the owner, by day, once a window, and to nobody else.

It is no page: nobody has to acknowledge it, it waits for the morning, and it climbs no ladder.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from urllib.parse import urlencode

from alerts import ladder
from alerts.desk import Desk
from alerts.ladder import Way
from alerts.message import notice
from incidents import access, accounts, outbox, saved_searches
from incidents.asked import read_asked
from incidents.fields import names_of
from incidents.querylang import QueryError, parse
from incidents.saved_searches import SavedView

KIND = "search"
#: a search with an alert is looked at so often
EVERY = timedelta(minutes=10)
#: nothing is sent before the first or after the second, local time
_MORNING, _EVENING = time(8), time(21)
#: who may not search posts any more gets no numbers of them
_SEARCHERS = frozenset(("duty", "analyst", "supervisor", "leader"))
_MOST = 1_000
_BLUE = "#0b6577"


def due(desk: Desk) -> bool:
    """Whether a saved search waits for a look."""
    return saved_searches.due(desk.session, desk.now, EVERY) is not None


def work(desk: Desk) -> bool:
    """Look at one search (a look takes a part of a second of the transaction); True when one was looked at."""
    one = saved_searches.due(desk.session, desk.now, EVERY)
    if one is None:
        return False
    way, trouble = _way(desk, one)
    if way is None:
        saved_searches.note(desk.session, one.id, desk.now, trouble=trouble)
        return True
    try:
        found = _count(desk, one)
    except QueryError as wrong:
        saved_searches.note(desk.session, one.id, desk.now, trouble=wrong.message_zh)
        return True
    rested = one.told_at is None or one.told_at + timedelta(hours=one.window_h) <= desk.now
    told = found >= one.threshold and rested
    if told:
        _tell(desk, one, way, found)
    saved_searches.note(desk.session, one.id, desk.now, found=found, told=told)
    return True


def _way(desk: Desk, one: SavedView) -> tuple[Way | None, str]:
    """Where the owner reads, or why they cannot be told."""
    account = next((row for row in accounts.list_accounts(desk.session) if row.login == one.owner), None)
    if account is None or account.disabled or account.role not in _SEARCHERS:
        return None, "这个账号不能检索，没有提醒。"
    person = desk.bundle.roster.person(one.owner)
    if person is not None and person.email:
        return Way("email", person.email), ""
    if person is not None and person.slack_user and ladder.slack_ready(desk.bundle):
        return Way("slack", person.slack_user), ""
    return None, "值班表里没有这个账号的邮箱，没有提醒；请把值班表中的人员编号写成登录名，并填写邮箱。"


def _count(desk: Desk, one: SavedView) -> int:
    zone = desk.calendar.zone
    asked = read_asked({**one.asked, "since": _since(desk, one), "until": ""}, zone)
    query = parse(asked.q, names_of(desk.bundle, desk.now))
    role = next(row.role for row in accounts.list_accounts(desk.session) if row.login == one.owner)
    hidden = access.hidden_from(desk.session, one.owner, role)
    if asked.kind == "incidents":
        return asked.incidents(desk.session, query, zone, limit=0, hidden=hidden).total
    most = max(_MOST, one.threshold)
    return asked.count(desk.session, query, zone, cap=most, hidden=hidden).total


def _since(desk: Desk, one: SavedView) -> str:
    begin = desk.now.astimezone(desk.calendar.zone) - timedelta(hours=one.window_h)
    return begin.replace(tzinfo=None).isoformat(timespec="minutes")


def _tell(desk: Desk, one: SavedView, way: Way, found: int) -> None:
    say = desk.say
    values = {key: value for key, value in one.asked.items() if key not in ("since", "until") and value}
    address = f"{desk.bundle.settings.link_base}/search?{urlencode({**values, 'since': _since(desk, one)})}"
    title = say("【检索提醒】{name}：{n} 条", name=one.name, n=found)
    lines = [
        say(
            "近 {hours} 小时找到 {n} 条，达到您设的 {limit} 条。",
            hours=one.window_h,
            n=found,
            limit=one.threshold,
        ),
        address,
        say("这是您保存的检索的提醒，不须确认；{hours} 小时内不再提醒。", hours=one.window_h),
    ]
    desk.counts.messages += outbox.enqueue(
        desk.session,
        id=outbox.message_id(
            None, 0, 0, way.recipient, way.channel, KIND, f"{one.id}/{desk.now.isoformat()}"
        ),
        incident_id=None,
        kind=KIND,
        recipient=way.recipient,
        channel=way.channel,
        priority=8,
        message=notice(title, lines, say.language, _BLUE).for_channel(way.channel, KIND),
        now=desk.now,
        not_before=by_day(desk.now, desk),
    )


def by_day(now: datetime, desk: Desk) -> datetime:
    """Now, or the next morning when it is night."""
    local = now.astimezone(desk.calendar.zone)
    if _MORNING <= local.time() < _EVENING:
        return now
    day = local.date() + timedelta(days=1 if local.time() >= _EVENING else 0)
    return datetime.combine(day, _MORNING, desk.calendar.zone)
