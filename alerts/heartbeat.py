"""The daily message that all is well: silence alone would leave open whether nothing happened or nothing worked."""

from __future__ import annotations

from datetime import datetime, time

from alerts import health, ladder
from alerts.desk import Desk
from alerts.ladder import Way
from alerts.message import Message, escape, simple_html
from incidents import beats, clocks, lifecycle, outbox, queries
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
    running = clocks.open_deadlines(desk.session)
    late = sum(clock.overdue(desk.now) for clock in running)
    local = datetime.fromisoformat(day)
    date = f"{local.day}/{local.month}" if say.english else f"{local.month}月{local.day}日"
    title = (
        say("【需处理】泉声 {date}：{n}项异常", date=date, n=len(errors))
        if errors
        else say("【系统正常】泉声 {date}", date=date)
    )
    lines = [
        say(
            "未办结事件{n}件，运行中的时限{clocks}个，其中已超时{late}个。",
            n=open_count,
            clocks=len(running),
            late=late,
        ),
        say("关注中的话题{n}个（未达告警条件）。", n=states.get("watching", 0)),
        *(f"· {finding.text}" for finding in troubles),
        say(
            "本消息每天{at}发送一次。当天没有收到，即表示系统或渠道有故障，请联系运维。",
            at=desk.bundle.settings.alerts.heartbeat_at,
        ),
    ]
    return Message(
        subject=title,
        text="\n".join([title, "", *lines]) + "\n",
        html=simple_html(title, lines, say.language, _AMBER if errors else _GREEN),
        blocks=[
            {
                "type": "section",
                "text": {"type": "mrkdwn", "text": escape(f"*{title}*\n" + "\n".join(lines))[:2900]},
            },
        ],
    )
