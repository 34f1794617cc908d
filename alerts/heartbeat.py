"""The daily message that all is well: silence alone would leave open whether nothing happened or nothing worked."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from alerts import budget, health, ladder, obligations
from alerts.desk import Desk
from alerts.ladder import Way
from alerts.message import Message, notice
from incidents import beats, clocks, heads, lifecycle, outbox, queries
from incidents.states import OPEN_STATES

BEAT = "alerts.heartbeat"
_GREEN, _AMBER = "#2e7d32", "#9a5b00"


def due(desk: Desk) -> str:
    """The day whose heartbeat is to be sent now (2026-11-24), or "" when it is too early or was sent."""
    local = desk.now.astimezone(desk.calendar.zone)
    hour, minute = desk.bundle.settings.alerts.heartbeat_at.split(":")
    if local.time() < time(int(hour), int(minute)):
        return ""
    day = local.date().isoformat()
    last = beats.get_beat(desk.session, BEAT)
    return "" if last is not None and last.value.get("day") == day else day


def beat_once(desk: Desk) -> bool:
    """Send today's heartbeat if it is due; True when it was enqueued."""
    day = due(desk)
    if not day:
        return False
    _note_head(desk, day)
    message = write(desk, day)
    person = ladder.on_duty(desk.bundle, "primary", desk.now)
    ways = []
    channel = desk.bundle.settings.slack.channel
    if ladder.slack_ready(desk.bundle) and channel:
        ways.append(Way("slack", channel))
    ways.append(Way("email", person.email) if person.email else Way("folder", person.person_id))
    for way in ways:
        new = outbox.enqueue(
            desk.session,
            id=outbox.message_id(None, 0, 0, way.recipient, way.channel, "heartbeat", day),
            incident_id=None,
            kind="heartbeat",
            recipient=way.recipient,
            channel=way.channel,
            priority=8,
            message=message.for_channel(way.channel, "heartbeat"),
            now=desk.now,
        )
        desk.counts.messages += new
    lifecycle.record_act(
        desk.session,
        "heartbeat",
        {"day": day, "subject": message.subject},
        actor="system",
        channel="system",
        now=desk.now,
    )
    beats.beat(desk.session, BEAT, desk.now, {"day": day})
    return True


def _note_head(desk: Desk, day: str) -> None:
    """The end of yesterday's record, told outside with this message."""
    today = datetime.combine(date.fromisoformat(day), time(), desk.calendar.zone)
    yesterday = (today - timedelta(days=1)).date().isoformat()
    heads.note(desk.session, yesterday, today, desk.now)


def write(desk: Desk, day: str) -> Message:
    """Numbers of the last day, and what needs care; the subject says at once which of the two it is."""
    say = desk.say
    troubles = [
        finding
        for finding in health.health_of(desk.session, desk.bundle, desk.now)
        if finding.level != "ok" and not finding.check.startswith("lag.")
    ]
    errors = [finding for finding in troubles if finding.level == "error"]
    states = queries.count_by_state(desk.session)
    open_count = sum(states.get(str(state), 0) for state in OPEN_STATES)
    running, late = clocks.count_open(desk.session, desk.now)
    local = datetime.fromisoformat(day)
    shown = f"{local.day}/{local.month}" if say.english else f"{local.month}月{local.day}日"
    title = (
        say("【需处理】泉声 {date}：{n}项异常", date=shown, n=len(errors))
        if errors
        else say("【系统正常】泉声 {date}", date=shown)
    )
    lines = [
        say(
            "未办结事件{n}件，运行中的时限{clocks}个，其中已超时{late}个。",
            n=open_count,
            clocks=running,
            late=late,
        ),
        say("关注中的话题{n}个（未达告警条件）。", n=states.get("watching", 0)),
        obligations.heartbeat_line(desk),
        *(f"· {finding.text}" for finding in troubles),
        *_budget(desk),
        *_canaries(desk),
        *_heads(desk),
        say(
            "本消息每天{at}发送一次。当天没有收到，即表示系统或渠道有故障，请联系运维。",
            at=desk.bundle.settings.alerts.heartbeat_at,
        ),
    ]
    return notice(title, lines, say.language, _AMBER if errors else _GREEN)


def _budget(desk: Desk) -> list[str]:
    """Officers who get more than a person bears."""
    uses = [use for use in budget.used(desk.session, desk.bundle, desk.now) if use.over]
    return [
        desk.say(
            "· 本班通知超出预算：{name} {n}/{allowed}，请检查告警阈值",
            name=desk.bundle.roster.person(use.person).name,  # type: ignore[union-attr]
            n=use.messages,
            allowed=use.allowed,
        )
        for use in uses
        if desk.bundle.roster.person(use.person) is not None
    ]


def _canaries(desk: Desk) -> list[str]:
    """One line about the channels that test themselves."""
    found = [beat for beat in beats.all_beats(desk.session) if beat.name.startswith("canary.")]
    dead = [beat.name.removeprefix("canary.") for beat in found if int(beat.value.get("failures") or 0) >= 2]
    if dead:
        return [desk.say("· 渠道自检未通过：{names}", names=desk.say.join(dead))]
    return [desk.say("渠道自检{n}个均通过。", n=len(found))] if found else []


def _heads(desk: Desk) -> list[str]:
    """The end of yesterday's record: whoever keeps this message can show later that nothing was cut off."""
    last = heads.noted(desk.session)[-1:]
    return [desk.say("审计链末端（{day}）：{seq}:{hash}", day=h.day, seq=h.seq, hash=h.hash) for h in last]
