"""The stored form of events, byte by byte: a changed space or a number kept as text says nothing new and is still a change.

The chain signs what a reader gets back. This looks at what lies in the table, so that no byte can be changed unnoticed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

#: an instant as this program writes it into SQLite
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")
_TEXTS = ("kind", "actor", "channel", "occurred_at", "recorded_at", "payload", "prev_hash", "hash")
_NUMBERS = ("seq", "epoch", "round")
_SQLITE = text(
    """
    SELECT seq, CAST(payload AS TEXT) AS payload, CAST(occurred_at AS TEXT) AS occurred_at,
           CAST(recorded_at AS TEXT) AS recorded_at, typeof(kind) AS t_kind, typeof(actor) AS t_actor,
           typeof(channel) AS t_channel, typeof(occurred_at) AS t_occurred_at, typeof(recorded_at) AS t_recorded_at,
           typeof(payload) AS t_payload, typeof(prev_hash) AS t_prev_hash, typeof(hash) AS t_hash,
           typeof(seq) AS t_seq, typeof(epoch) AS t_epoch, typeof(round) AS t_round,
           typeof(incident_id) AS t_incident_id, typeof(version) AS t_version, typeof(idempotency_key) AS t_key
    FROM incident_event WHERE seq > :seq ORDER BY seq LIMIT :batch
    """
)
_POSTGRESQL = text(
    "SELECT seq, payload::text AS payload FROM incident_event WHERE seq > :seq ORDER BY seq LIMIT :batch"
)


def oddities(session: Session, batch: int = 2000) -> Iterator[tuple[int, str]]:
    """Number of each event that does not lie in the table as this program writes it, and what is odd, in order."""
    sqlite = session.get_bind().dialect.name == "sqlite"
    seq = -(2**62)
    while rows := session.execute(_SQLITE if sqlite else _POSTGRESQL, {"seq": seq, "batch": batch}).all():
        for row in rows:
            odd = _payload(row.payload) or (_types(row) if sqlite else "")
            if odd:
                yield row.seq, odd
        seq = rows[-1].seq


def _payload(stored: str) -> str:
    try:
        same = json.dumps(json.loads(stored)) == stored
    except (ValueError, TypeError):
        return "its payload is no JSON"
    return "" if same else "its payload is not written as this program writes it"


def _types(row: Row[tuple[object, ...]]) -> str:
    values = row._mapping
    for name in _TEXTS:
        if values[f"t_{name}"] != "text":
            return f"its {name} is kept as {values[f't_{name}']}, not as text"
    for name in _NUMBERS:
        if values[f"t_{name}"] != "integer":
            return f"its {name} is kept as {values[f't_{name}']}, not as a whole number"
    for name, allowed in (("incident_id", "integer"), ("version", "integer"), ("key", "text")):
        if values[f"t_{name}"] not in (allowed, "null"):
            return f"its {name} is kept as {values[f't_{name}']}"
    for name in ("occurred_at", "recorded_at"):
        if not _INSTANT.fullmatch(values[name]):
            return f"its {name} is not written as this program writes it"
    return ""
