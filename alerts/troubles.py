"""What is wrong with this system itself, each thing under a key of its own: asked by the outside ping, the alarm, doctor and console.

Nothing here asks the network or writes.
"""

from __future__ import annotations

import hmac
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from alerts import facts
from alerts.health import FAILED, SENDER, TICK
from alerts.wording import Wording
from config.bundle import Bundle
from config.domains import DOMAINS, domain_label
from config.sources import Source
from incidents import beats, events, evidence, heads, outbox, sources, stops
from incidents.session import Session

CHAIN, HEARTBEAT, DOOR, CANARY = "watch.chain", "alerts.heartbeat", "door.", "canary."
#: tick and senders run every 2 s
_FRESH = timedelta(seconds=60)
#: crawler and judge run at least every 15 s, one round may take minutes
_STAGE_SILENT = timedelta(minutes=10)
_REMEMBERED = timedelta(hours=1)
#: how long after its time the daily message may still be missing
_HEARTBEAT_GRACE = timedelta(minutes=30)
#: sources count as blind when none was read for so long, or for three of its own intervals
_BLIND = timedelta(hours=1)
#: sources that are named in one message
_NAMED = 3
#: failures in a row of a canary or of knocking at a channel that make it dead
TWICE = 2
#: free space below which the database will soon refuse to write
_DISK_MB = 200
#: events checked in one look; the rest follows in the next
_CHECKED = 5000


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong. `channel` cannot be used to tell it; `outside` keeps the outside ping back."""

    key: str
    text: str
    channel: str = ""
    outside: bool = True


@dataclass(frozen=True)
class Place:
    """How far the record was checked."""

    seq: int
    hash: str


def find(session: Session, bundle: Bundle, key: bytes, now: datetime) -> tuple[list[Trouble], Place | None]:
    """Everything that is wrong now, and how far the record is whole (None when it is not)."""
    say = facts.wording_of(bundle)
    wrong, place = _chain(session, key, say)
    found = [
        *_loops(session, now, say),
        *_messages(session, now, say),
        *_roster(bundle, now, say),
        *_disk(bundle, say),
        *_channels(session, say),
        *_stages(session, now, say),
        *_originals(session, say),
        *_halts(session, bundle, say),
        *_sources(session, bundle, now, say),
        *_daily(session, bundle, now, say),
        *wrong,
    ]
    return found, place


def _loops(session: Session, now: datetime, say: Wording) -> Iterator[Trouble]:
    for name, what in ((TICK, say("时钟")), (SENDER, say("发送"))):
        beat = beats.get_beat(session, name)
        if beat is None or now - beat.ok_at > _FRESH:
            yield Trouble(name, say("{what}超过1分钟没有正常运行", what=what))
    for beat in beats.all_beats(session):
        # one sender for each channel: the others being well does not help this one
        if beat.name.startswith("job:send:") and now - beat.ok_at > timedelta(minutes=3):
            name = beat.name.removeprefix("job:send:")
            yield Trouble(beat.name, say("{name} 的发送超过3分钟没有正常运行", name=name), channel=name)


def _messages(session: Session, now: datetime, say: Wording) -> Iterator[Trouble]:
    if overdue := outbox.backlog(session, now).overdue:
        yield Trouble("backlog", say("{n}条消息逾1分钟未发出", n=overdue))
    failed = beats.get_beat(session, FAILED)
    if failed is not None and now - failed.ok_at < _REMEMBERED:
        yield Trouble(
            "failed",
            say("{what} 处理失败，相关事件可能未告警，请人工核对", what=failed.value.get("what", "?")),
        )


def _roster(bundle: Bundle, now: datetime, say: Wording) -> Iterator[Trouble]:
    if bundle.roster.rostered(now, "primary") is None:
        yield Trouble("roster", say("值班表现在没有主班，提醒发给兜底人员"))


def _disk(bundle: Bundle, say: Wording) -> Iterator[Trouble]:
    folder = bundle.settings.data_path
    try:
        free = shutil.disk_usage(folder).free // 1_000_000
    except OSError as error:
        yield Trouble(
            "disk", say("数据目录 {folder} 无法读取：{why}", folder=folder, why=error.strerror or error)
        )
        return
    if free < _DISK_MB:
        yield Trouble(
            "disk",
            say("数据目录 {folder} 所在磁盘仅剩{n} MB，写满后无法告警，请尽快清理", folder=folder, n=free),
        )


def _channels(session: Session, say: Wording) -> Iterator[Trouble]:
    """One trouble a channel, whichever way it showed: nobody is told twice of one dead channel."""
    dead: dict[str, str] = {}
    for beat in beats.all_beats(session):
        if int(beat.value.get("failures") or 0) < TWICE:
            continue
        reason = beat.value.get("reason", "")
        if beat.name.startswith(CANARY):
            name = beat.name.removeprefix(CANARY)
            dead.setdefault(name, say("渠道 {name} 自检未通过：{why}", name=name, why=reason))
        elif beat.name.startswith(DOOR):
            name = beat.name.removeprefix(DOOR)
            dead[name] = say("渠道 {name} 不可用：{why}", name=name, why=reason)
    for name, text in dead.items():
        yield Trouble(f"channel.{name}", text, channel=name)


def _stages(session: Session, now: datetime, say: Wording) -> Iterator[Trouble]:
    for name, what in (("job:crawl", say("采集")), ("job:judge", say("研判"))):
        beat = beats.get_beat(session, name)
        if beat is not None and now - beat.ok_at > _STAGE_SILENT:
            yield Trouble(
                name,
                say(
                    "{what}已{late}没有正常运行，新情况不会被发现", what=what, late=say.span(now - beat.ok_at)
                ),
            )


def _originals(session: Session, say: Wording) -> Iterator[Trouble]:
    for name, text in (
        (evidence.SPOOL, say("原始网页无法暂存，帖子照常入库但缺原件：{why}")),
        (evidence.KEEP, say("事件证据无法保存：{why}")),
    ):
        beat = beats.get_beat(session, name)
        if beat is not None and (why := beat.value.get("reason")):
            yield Trouble(name, text.format(why=why))


def _halts(session: Session, bundle: Bundle, say: Wording) -> Iterator[Trouble]:
    """A person has halted collecting: everybody who relies on it is told, and told again when it goes on."""
    for stop in stops.active(session, "halt"):
        source = bundle.source(stop.target) if stop.scope == "source" else None
        name = source.name if source is not None else stop.target
        yield Trouble(
            f"halt.{stop.scope}.{stop.target}",
            say(
                "{who}停止了{what}的采集（{why}），恢复前其新情况不会被发现",
                who=stop.actor,
                what=name or say("全部信源"),
                why=stop.reason,
            ),
            outside=False,
        )


def _sources(session: Session, bundle: Bundle, now: datetime, say: Wording) -> Iterator[Trouble]:
    """No source works any more: none at all, or none of those that watch one subject of the notice's list."""
    silent = {state.source_id: state for state in sources.unwell(session, now - _BLIND)}
    count, dead, general = 0, 0, 0
    own: dict[str, list[Source]] = {}
    working: set[str] = set()
    for source in bundle.sources:
        if not source.enabled:
            continue
        count += 1
        lost = _dead(source, silent.get(source.id), now)
        dead += lost
        if source.domain_hint:
            own.setdefault(source.domain_hint, []).append(source)
        if not lost:
            working.add(source.domain_hint)
            general += not source.domain_hint
    if count and dead == count:
        yield Trouble("sources", say("{n}个信源全部读不到，新情况不会被发现", n=count), outside=False)
        return
    for domain in DOMAINS:
        lame = own.get(domain.id, [])
        if not domain.watched or not lame or domain.id in working:
            continue
        told = say(
            "“{domain}”领域的{n}个信源全部失效（{names}）",
            domain=domain_label(domain.id, say.language),
            n=len(lame),
            names=say.join(source.name for source in lame[:_NAMED]) + ("…" if len(lame) > _NAMED else ""),
        )
        left = say("该领域只能靠{n}个综合信源", n=general) if general else say("该领域的新情况不会被发现")
        yield Trouble(f"sources.{domain.id}", say("{lost}，{left}", lost=told, left=left), outside=False)


def _dead(source: Source, state: sources.SourceView | None, now: datetime) -> bool:
    """Whether a source has not worked for its patience: no answer, or an answer that is none (frozen, a login, garbage).

    `state` is its row of sources.unwell; None when it is well, or just begun and not yet asked.
    """
    if state is None:
        return False
    if state.last_ok_at is None:
        return state.failures >= TWICE
    return now - state.last_ok_at >= max(_BLIND, 3 * timedelta(minutes=source.every_min))


def _daily(session: Session, bundle: Bundle, now: datetime, say: Wording) -> Iterator[Trouble]:
    """The daily message that did not come."""
    last = beats.get_beat(session, HEARTBEAT)
    hour, minute = (int(part) for part in bundle.settings.alerts.heartbeat_at.split(":"))
    local = now.astimezone(ZoneInfo(bundle.settings.city.timezone))
    due = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if last is not None and local > due + _HEARTBEAT_GRACE and last.ok_at < due:
        yield Trouble("heartbeat", say("今天的“系统正常”消息没有发出"))
    if gone := heads.broken(session, (local - timedelta(days=8)).date().isoformat()):
        yield Trouble("heads", say("事件记录与记下的日末校验值不符：{what}", what=gone))


def _chain(session: Session, key: bytes, say: Wording) -> tuple[list[Trouble], Place | None]:
    """Check the events since the last look."""
    seen = beats.get_beat(session, CHAIN)
    seq = int(seen.value["seq"]) if seen is not None else 0
    previous = str(seen.value["hash"]) if seen is not None else events.GENESIS
    for event in events.events_after(session, seq, _CHECKED):
        if event.seq != seq + 1 or event.prev_hash != previous:
            return [Trouble("chain", say("事件记录在第{n}号之后中断", n=seq))], None
        if not hmac.compare_digest(event.hash, events.chain_hash(key, previous, event)):
            return [Trouble("chain", say("事件记录第{n}号被改动", n=event.seq))], None
        seq, previous = event.seq, event.hash
    if (end := events.head(session).seq) < seq:
        return [Trouble("chain", say("事件记录第{n}号之后的内容被删去", n=end))], None
    return [], Place(seq, previous)
