"""Tell the officer on duty what is wrong with this system itself: once when it lasts a minute, once when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from alerts import facts, ladder
from alerts.ladder import Asked, Way
from alerts.message import Message, notice
from alerts.troubles import Trouble
from config.bundle import Bundle
from incidents import beats, lifecycle, outbox
from incidents.session import Session

KIND, BEAT = "system_alarm", "watch.troubles"
#: shorter troubles heal by themselves (a restart, a long commit)
_LASTS = timedelta(seconds=60)
_RED, _GREEN = "#b3261e", "#2e7d32"


def work(session: Session, bundle: Bundle, troubles: Sequence[Trouble], now: datetime) -> list[str]:
    """Hold what is wrong now against what was known; returns the keys that were told (a leading - is a recovery)."""
    beat = beats.get_beat(session, BEAT)
    known = dict(beat.value) if beat is not None else {}
    after: dict[str, dict[str, object]] = {}
    told: list[str] = []
    present = {trouble.key: trouble for trouble in troubles}
    for key, trouble in present.items():
        since = str(known.get(key, {}).get("since") or now.isoformat())
        said = bool(known.get(key, {}).get("told"))
        if not said and now - datetime.fromisoformat(since) >= _LASTS:
            _tell(session, bundle, trouble.key, trouble.text, {trouble.channel}, since, now, good=False)
            said = True
            told.append(key)
        after[key] = {"since": since, "told": said, "text": trouble.text, "channel": trouble.channel}
    for key, entry in known.items():
        if key in present:
            continue
        over = datetime.fromisoformat(str(entry.get("over") or now.isoformat()))
        if entry.get("told") and now - over < _LASTS:
            after[key] = {**entry, "over": over.isoformat()}  # may come back at once: wait before good news
        elif entry.get("told"):
            _tell(session, bundle, key, str(entry["text"]), set(), str(entry["since"]), now, good=True)
            told.append(f"-{key}")
    if after != known:
        beats.beat(session, BEAT, now, after)
    return told


def ways_of(bundle: Bundle, person: Asked, without: set[str]) -> list[Way]:
    """Every way to one person but the broken ones; the local folder when nothing is left."""
    route = bundle.routes.routes[-1]
    return ladder.other_ways(bundle, route, person, without) or [
        Way("folder", person.email or person.person_id)
    ]


def write(bundle: Bundle, text: str, *, good: bool) -> Message:
    """The message: first what is the matter, then what it means and what to do."""
    say = facts.wording_of(bundle)
    head = say("【系统恢复】{what}", what=text) if good else say("【系统故障】{what}", what=text)
    lines = [] if good else [say("请通知运维处理；原因见工作台“系统状态”页或运行 quansheng doctor。")]
    return notice(head, lines, say.language, _GREEN if good else _RED, f"{bundle.settings.link_base}/system")


def _tell(
    session: Session,
    bundle: Bundle,
    key: str,
    text: str,
    without: set[str],
    since: str,
    now: datetime,
    *,
    good: bool,
) -> None:
    person = ladder.on_duty(bundle, "primary", now)
    message = write(bundle, text, good=good)
    for way in ways_of(bundle, person, without):
        outbox.enqueue(
            session,
            id=outbox.message_id(None, 0, int(good), way.recipient, way.channel, KIND, f"{key}/{since}"),
            incident_id=None,
            kind=KIND,
            recipient=way.recipient,
            channel=way.channel,
            priority=1,
            message={**message.for_channel(way.channel, "system"), "person": person.person_id},
            now=now,
        )
    lifecycle.record_act(
        session,
        "system_alarm",
        {
            "about": key,
            "state": "recovered" if good else "failed",
            "text": text[:300],
            "person": person.person_id,
        },
        actor="system",
        channel="system",
        now=now,
    )
