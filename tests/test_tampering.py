"""Ten thousand random tamperings of the record, of one byte, one value or one row: `audit verify` finds every one."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from incidents import events
from incidents.judgements import open_watching
from incidents.lifecycle import handle, record, record_act
from incidents.session import Database
from incidents.states import Acknowledge, Assign, Confirm, Detect, Note
from tests.test_events import lift_triggers

T0 = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
COLUMNS = [
    "incident_id",
    "version",
    "kind",
    "epoch",
    "round",
    "actor",
    "channel",
    "occurred_at",
    "recorded_at",
    "payload",
    "idempotency_key",
    "prev_hash",
    "hash",
]


def a_record(db: Database) -> None:
    """Two incidents and what people did, about 24 events of every shape."""
    with db.transaction() as session:
        for number in range(2):
            incident = open_watching(
                session, title="停水", domain="housing", district="历下区", first_posted_at=T0, sketch={}
            )
            at = T0 + timedelta(minutes=number)

            def act(
                command: object, minutes: int, incident: int = incident, at: datetime = at, **more: object
            ) -> None:
                handle(
                    session,
                    incident,
                    command,  # type: ignore[arg-type]
                    actor="lin-dong",
                    channel="console",
                    now=at + timedelta(minutes=minutes, microseconds=minutes * 7),
                    **more,  # type: ignore[arg-type]
                )

            act(Detect("fast", {"posts": 3, "share": 1 / 3, "sentence_zh": "两小时 3 帖"}, "serious"), 0)
            record(session, incident, "rung_fired", {"step": 1, "people": ["lin-dong"]}, now=at)
            act(Acknowledge(epoch=1), 3, idempotency_key=f"ack-{number}")
            act(Confirm("属实", "serious"), 5)
            act(Assign("housing-construction", reason="对口"), 8)
            act(Note("已电话联系"), 11)
            record(session, incident, "deadline_opened", {"rule": "R03", "round": 1}, now=at, occurred_at=T0)
        for day in range(6):
            record_act(
                session,
                "viewed",
                {"n": day},
                actor="he-nan",
                channel="console",
                now=T0 + timedelta(days=day + 1),
            )


def _column(session: Session, chance: random.Random, seq: int) -> str:
    """One byte of one value of one row."""
    name = chance.choice(COLUMNS)
    stored = session.execute(
        text(f"SELECT CAST({name} AS BLOB), typeof({name}) FROM incident_event WHERE seq = :n"), {"n": seq}
    ).one()
    raw, kind = stored
    if raw is None or not raw:
        return ""
    at = chance.randrange(len(raw))
    byte = chance.choice([raw[at] ^ (1 << chance.randrange(8)), 32, 48, 57, 9])
    if byte == raw[at]:
        return ""
    changed = raw[:at] + bytes([byte]) + raw[at + 1 :]
    if kind == "integer":
        if not changed.strip().lstrip(b"-").isdigit() or int(changed) == int(raw):
            return ""
        session.execute(
            text(f"UPDATE incident_event SET {name} = :v WHERE seq = :n"), {"v": int(changed), "n": seq}
        )
    else:
        session.execute(
            text(f"UPDATE incident_event SET {name} = CAST(:v AS TEXT) WHERE seq = :n"),
            {"v": changed, "n": seq},
        )
    return f"byte of {name}"


def _delete(session: Session, chance: random.Random, seq: int) -> str:
    session.execute(text("DELETE FROM incident_event WHERE seq = :n"), {"n": seq})
    return "row deleted"


def _cut(session: Session, chance: random.Random, seq: int) -> str:
    session.execute(text("DELETE FROM incident_event WHERE seq >= :n"), {"n": seq})
    return "tail cut"


def _close_up(session: Session, chance: random.Random, seq: int) -> str:
    """A row is taken out and the later ones move up."""
    session.execute(text("DELETE FROM incident_event WHERE seq = :n"), {"n": seq})
    session.execute(text("UPDATE incident_event SET seq = -(seq - 1) WHERE seq > :n"), {"n": seq})
    session.execute(text("UPDATE incident_event SET seq = -seq WHERE seq < 0"))
    return "row taken out"


def _swap(session: Session, chance: random.Random, seq: int) -> str:
    other = 1 + (seq + chance.randrange(1, 19)) % 19
    if other == seq:
        return ""
    for was, becomes in ((seq, -1), (other, seq), (-1, other)):
        session.execute(text("UPDATE incident_event SET seq = :b WHERE seq = :w"), {"b": becomes, "w": was})
    return "rows swapped"


def _copy(session: Session, chance: random.Random, seq: int) -> str:
    """An old row is put once more at the end, chained without the key."""
    top = events.head(session)
    names = ", ".join(
        name for name in COLUMNS if name not in ("prev_hash", "hash", "version", "idempotency_key")
    )
    forged = hashlib.sha256(f"{top.hash}{seq}".encode()).hexdigest()
    session.execute(
        text(
            f"INSERT INTO incident_event (seq, version, idempotency_key, prev_hash, hash, {names}) "
            f"SELECT :s, NULL, NULL, :p, :h, {names} FROM incident_event WHERE seq = :n"
        ),
        {"s": top.seq + 1, "p": top.hash, "h": forged, "n": seq},
    )
    return "row forged"


def _other_value(session: Session, chance: random.Random, seq: int) -> str:
    """A value as another row has it."""
    name = chance.choice(["kind", "actor", "channel", "occurred_at", "recorded_at", "payload", "epoch"])
    other = chance.randint(1, 20)
    done = session.execute(
        text(
            f"UPDATE incident_event SET {name} = (SELECT {name} FROM incident_event WHERE seq = :o) "
            f"WHERE seq = :n AND {name} IS NOT (SELECT {name} FROM incident_event WHERE seq = :o)"
        ),
        {"o": other, "n": seq},
    )
    return f"{name} of another row" if done.rowcount else ""  # type: ignore[attr-defined]


def _rewrite(session: Session, chance: random.Random, seq: int) -> str:
    """Everything from here on is chained anew by somebody who has not the key."""
    session.execute(text("UPDATE incident_event SET actor = 'he-nan ' WHERE seq = :n"), {"n": seq})
    session.expire_all()
    previous = events.GENESIS
    for event in events.events_after(session, 0):
        digest = event.hash
        if event.seq >= seq:
            digest = hmac.new(
                b"guessed", previous.encode() + events.canonical(event), hashlib.sha256
            ).hexdigest()
            session.execute(
                text("UPDATE incident_event SET prev_hash = :p, hash = :h WHERE seq = :n"),
                {"p": previous, "h": digest, "n": event.seq},
            )
        previous = digest
    return "chained anew"


def _space(session: Session, chance: random.Random, seq: int) -> str:
    """The payload says the same in other bytes."""
    stored = session.scalar(text("SELECT payload FROM incident_event WHERE seq = :n"), {"n": seq})
    other = json.dumps(json.loads(stored), ensure_ascii=False, indent=chance.choice([None, 1]))
    if other == stored:
        other += " "
    session.execute(text("UPDATE incident_event SET payload = :p WHERE seq = :n"), {"p": other, "n": seq})
    return "spelling of payload"


WAYS: tuple[tuple[int, Callable[[Session, random.Random, int], str]], ...] = (
    (60, _column),
    (6, _delete),
    (4, _cut),
    (4, _close_up),
    (6, _swap),
    (4, _copy),
    (12, _other_value),
    (1, _rewrite),
    (3, _space),
)


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(4))
def test_every_one_of_2500_random_tamperings_is_found(db: Database, shard: int) -> None:
    """Four shards make ten thousand. The head was noted elsewhere, as the daily heartbeat and the weekly report do."""
    chance = random.Random(f"tamper-{shard}")
    a_record(db)
    lift_triggers(db)
    with db.reading() as session:
        noted = events.head(session)
        assert events.verify(session, db.audit_key, known_head=noted).ok
    done: Counter[str] = Counter()
    weights, ways = zip(*WAYS, strict=True)
    while sum(done.values()) < 2500:
        with db.reading() as session:  # rolled back at the end
            try:
                what = chance.choices(ways, weights)[0](session, chance, chance.randint(1, noted.seq))
            except IntegrityError:
                continue  # the table itself refuses two rows of one number, version or key
            if not what:
                continue
            session.expire_all()
            verdict = events.verify(session, db.audit_key, known_head=noted)
            assert not verdict.ok, f"not found: {what}"
            assert verdict.reason
            done[what] += 1
    assert len(done) > 15, done
