"""Is this installation able to alert anybody? Asked by `quansheng doctor` and by the daily heartbeat."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from alerts import channels, facts, rota, trial
from alerts.calendar import load_calendar
from alerts.results import SendResult, Sent
from alerts.wording import Wording
from config.bundle import Bundle
from config.roster import ROLES
from incidents import beats, outbox
from incidents.session import Database, Session

Level = Literal["ok", "warning", "error"]
#: how far ahead duty must be settled and the calendar known
_ROSTER_DAYS, _CALENDAR_DAYS = 30, 60
#: a tick or a sender that was last well longer ago than this is reported
_LATE = timedelta(minutes=5)
TICK, SENDER, FAILED = "alerts.tick", "alerts.send", "alerts.failed"
#: how long a failure of this room is reported
_REMEMBERED = timedelta(days=1)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str  # channel.slack, roster, calendar, lag, backlog
    level: Level
    text: str


def health(db: Database, bundle: Bundle, now: datetime) -> list[Finding]:
    """Everything, channels included: they are asked over the network but nothing is sent."""
    found = channel_findings(bundle)
    with db.reading() as session:
        bundle = rota.in_force(session, bundle, now)
        return [
            *found,
            *health_of(session, bundle, now),
            *readiness_findings(bundle, now),
            _outside(bundle),
        ]


def health_of(session: Session, bundle: Bundle, now: datetime) -> list[Finding]:
    """What can be known without asking the network."""
    say = facts.wording_of(bundle)
    return [
        *_setup(bundle, say),
        _roster(bundle, now, say),
        _calendar(bundle, now, say),
        *_lag(session, now, say),
        *_backlog(session, now, say),
        *_failures(session, now, say),
    ]


def channel_findings(bundle: Bundle) -> list[Finding]:
    """Each channel that is set up, asked whether it would let us in."""
    say = facts.wording_of(bundle)
    return [
        _asked(f"channel.{name}", channel.check(), say) for name, channel in channels.build(bundle).items()
    ]


def _asked(check: str, result: SendResult, say: Wording) -> Finding:
    if isinstance(result, Sent):
        return Finding(check, "ok", say("可用（{what}）", what=result.ref))
    return Finding(check, "error", say("不可用：{why}", why=result.reason))


def _setup(bundle: Bundle, say: Wording) -> list[Finding]:
    settings = bundle.settings
    slack, mail = settings.slack.token.get_secret_value(), settings.mail.host
    if not slack and not mail:
        text = say(
            "未配置 Slack 和邮件：告警只显示在工作台并存入本机 {folder}，不会主动找到任何人。请配置 slack.token 或 mail.host。",
            folder=settings.data_path / "outbox",
        )
        return [Finding("channels", "warning", text)]
    found = []
    if slack and not settings.slack.channel:
        text = say("已有 Slack 令牌但未配置频道（slack.channel）：仅发给有成员号的值班人员。")
        found.append(Finding("channels", "warning", text))
    invented = [person.name for person in bundle.roster.people if person.email.endswith(".invalid")]
    if invented:
        text = say("值班表中有示例人员（{names}）：请改为真实值班人员。", names=say.join(invented))
        found.append(Finding("roster.people", "warning", text))
    return found or [Finding("channels", "ok", say("渠道已配置"))]


def _roster(bundle: Bundle, now: datetime, say: Wording) -> Finding:
    gaps = bundle.roster.gaps(now, now + timedelta(days=_ROSTER_DAYS))
    if not gaps:
        return Finding("roster", "ok", say("未来{days}天值班无空档", days=_ROSTER_DAYS))
    first = gaps[0]
    text = say(
        "未来{days}天值班表有{n}处空档，最早：{role} {start} 至 {until}；空档由兜底人员接收。",
        days=_ROSTER_DAYS,
        n=len(gaps),
        role=say.role(first.role),
        start=say.at(first.start),
        until=say.at(first.until),
    )
    return Finding("roster", "warning", text)


def _outside(bundle: Bundle) -> Finding:
    say = facts.wording_of(bundle)
    if bundle.settings.watch.ping_url.get_secret_value():
        return Finding("watch.ping", "ok", say("外部心跳已配置"))
    return Finding(
        "watch.ping", "warning", say("没有配置外部心跳（watch.ping_url）：整台机器停住时，没有人会知道")
    )


def readiness_findings(bundle: Bundle, now: datetime) -> list[Finding]:
    """What somebody should mend about the coming month besides gaps, one finding for each kind. `bundle` has the roster in force."""
    say = facts.wording_of(bundle)
    calendar = load_calendar(bundle.settings.config_dir, bundle.settings.city.timezone)
    words = {
        "unreachable": say("值班人员没有可用联系方式"),
        "double": say("同一人兼主班和副班，副班不会再通知到别人"),
        "long": say("主班连续值班超过26小时"),
        "holiday": say("节假日无带班领导"),
    }
    kinds: dict[str, list[str]] = {}
    if unreached := _unreached(bundle, now):
        kinds["unreachable"] = unreached
    for item in rota.readiness(bundle.roster, calendar, now, _ROSTER_DAYS):
        if item.kind not in ("gap", "unreachable"):  # gaps have a finding of their own
            kinds.setdefault(item.kind, []).append(item.text)
    return [
        Finding(
            f"roster.{kind}",
            # nobody can tell a person to whom no channel leads; the rest is told, only not well
            "error" if kind == "unreachable" else "warning",
            say("{what}：{first}", what=words.get(kind, kind), first=say.join(texts[:3]))
            + (say("等{n}处", n=len(texts)) if len(texts) > 3 else ""),
        )
        for kind, texts in kinds.items()
    ]


def _unreached(bundle: Bundle, now: datetime) -> list[str]:
    """Names of people on duty in the coming month to whom no channel that is set up leads."""
    if len(channels.build(bundle)) == 1:
        return []  # the folder alone: that nobody is told has a finding of its own
    until = now + timedelta(days=_ROSTER_DAYS)
    coming = {
        duty.person.id: duty.person
        for role in ROLES
        for _, _, duty in bundle.roster.stretches(role, now, until)
    }
    return [
        person.name
        for person in coming.values()
        if {way.channel for way in trial.ways_of(bundle, person)} == {"folder"}
    ]


def _calendar(bundle: Bundle, now: datetime, say: Wording) -> Finding:
    calendar = load_calendar(bundle.settings.config_dir, bundle.settings.city.timezone)
    last = calendar.last_official_year
    if calendar.local_day(now + timedelta(days=_CALENDAR_DAYS)).year <= last:
        return Finding("calendar", "ok", say("放假安排已知至{year}年底", year=last))
    text = say(
        "尚无{year}年放假安排：跨年的工作日时限标为“暂定”。通知发布后写入 calendar.yaml 或升级 chinesecalendar。",
        year=last + 1,
    )
    return Finding("calendar", "warning", text)


def _lag(session: Session, now: datetime, say: Wording) -> list[Finding]:
    found = []
    for name in (TICK, SENDER):
        beat = beats.get_beat(session, name)
        if beat is None:
            found.append(Finding(f"lag.{name}", "warning", say("{name} 尚未运行过", name=name)))
        elif now - beat.ok_at > _LATE:
            late = say.span(now - beat.ok_at)
            found.append(Finding(f"lag.{name}", "error", say("{name} 已{late}未运行", name=name, late=late)))
        else:
            found.append(Finding(f"lag.{name}", "ok", say("{name} 正常", name=name)))
    return found


def _backlog(session: Session, now: datetime, say: Wording) -> list[Finding]:
    waiting = outbox.backlog(session, now)
    if waiting.overdue:
        oldest = say.at(waiting.oldest_due) if waiting.oldest_due else ""
        text = say("{n}条消息逾1分钟未发出，最早应发 {oldest}", n=waiting.overdue, oldest=oldest)
        found = [Finding("backlog", "error", text)]
    else:
        found = [Finding("backlog", "ok", say("无积压消息（待发{n}条）", n=waiting.waiting))]
    if waiting.refused:
        text = say("累计{n}条消息被渠道拒收，见工作台消息记录", n=waiting.refused)
        found.append(Finding("refused", "warning", text))
    return found


def _failures(session: Session, now: datetime, say: Wording) -> list[Finding]:
    """Something that could not be worked off in the last day: an incident may not have been paged."""
    beat = beats.get_beat(session, FAILED)
    if beat is None or now - beat.ok_at > _REMEMBERED:
        return []
    text = say(
        "{what} 处理失败（{reason}），相关事件可能未告警，请人工核对并联系运维",
        what=beat.value.get("what", ""),
        reason=beat.value.get("reason", ""),
    )
    return [Finding("alerts.failed", "error", text)]
