"""Rows that another system signs and sends: is the request genuine, what are its rows, what became of them.

Signature: `X-Quansheng-Signature: sha256=` and the hex HMAC-SHA256, under the shared secret, of "<timestamp>.<body>", where the timestamp is
that of `X-Quansheng-Timestamp` in Unix seconds and the body is as sent. It is the form in which our own webhooks are signed.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from config.settings import ConfigError
from config.sources import PushSource
from incidents import beats
from incidents.grams import storable
from incidents.intake import Receipt, find_receipt, forget_receipts, take_unfiled, write_receipt
from incidents.session import Session
from incidents.sources import SourceView
from spiders.importer import BadRow, posts_of
from spiders.intake.mapping import mapping_of, origin_of
from spiders.intake.reading import Counts, Look, SourceUnusable, Surroundings, store
from spiders.profiles import Profile
from spiders.tables import RawRow, csv_rows, json_row

#: bad rows that an answer lists; all of them are set aside
LISTED = 50
#: characters that a secret must have: it is the only thing that keeps strangers out
SECRET_LENGTH = 32
_JSON = ("application/json", "text/json")
_LINES = ("application/x-ndjson", "application/jsonl", "application/jsonlines", "application/x-jsonlines")
_CSV = ("text/csv", "application/csv")


class Refusal(Exception):
    """The request is not taken. `status` is the answer's, `sentence` its reason; `unsigned`: nobody knows who sent it."""

    def __init__(self, status: int, sentence: str, *, unsigned: bool = False, **more: Any) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.unsigned = unsigned
        self.more = more


@dataclass
class Answer:
    """What became of a request's rows."""

    received: int = 0
    taken: int = 0
    known: int = 0
    aside: int = 0
    errors: list[BadRow] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As the other side gets it."""
        return {
            "received": self.received,
            "taken": self.taken,
            "known": self.known,
            "set_aside": self.aside,
            "errors": [
                {"row": bad.row, "field": bad.field, "reason": bad.reason} for bad in self.errors[:LISTED]
            ],
        }


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What stands in X-Quansheng-Signature."""
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"sha256={mac.hexdigest()}"


def verify(
    around: Surroundings, source: PushSource, timestamp: str, given: str, body: bytes, now: datetime
) -> None:
    """Raises Refusal unless the signature is right and the timestamp near our clock; SourceUnusable without a usable secret."""
    secrets = [secret_of(around, source, "secret", source.secret)]
    if source.old_secret:
        secrets.append(secret_of(around, source, "old_secret", source.old_secret))
    if not timestamp or not given:
        raise Refusal(401, "X-Quansheng-Timestamp and X-Quansheng-Signature are needed", unsigned=True)
    wanted = [signature(secret, timestamp, body) for secret in secrets]
    # every secret is compared, so that time does not tell which one was nearer
    if not any([hmac.compare_digest(one.encode(), given.strip().lower().encode()) for one in wanted]):  # noqa: C419 (see above)
        raise Refusal(
            401,
            "the signature is wrong; it is the hex HMAC-SHA256 of timestamp, a full stop and the body as sent",
            unsigned=True,
        )
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise Refusal(401, "X-Quansheng-Timestamp is in Unix seconds")
    apart = int(timestamp) - now.timestamp()
    if abs(apart) > source.window_s:
        raise Refusal(
            401,
            f"the timestamp differs by {apart:.0f} s from our clock, more than {source.window_s}; sign again with the present time",
            now=int(now.timestamp()),
        )


def secret_of(around: Surroundings, source: PushSource, name: str, value: str) -> str:
    """A secret that is long enough. Raises SourceUnusable."""
    secret = around.secret(source, name, value)
    if len(secret) < SECRET_LENGTH:
        raise SourceUnusable(
            "error",
            f"sources.yaml, {source.id}: the secret in {value} is shorter than {SECRET_LENGTH} characters; "
            "`openssl rand -hex 32` makes a good one",
        )
    return secret


def take(
    around: Surroundings, source: PushSource, timestamp: str, kind: str, body: bytes, now: datetime
) -> Answer:
    """Store the rows of a verified request. Raises Refusal, and DatabaseTrouble when nothing can be stored now."""
    digest = hashlib.sha256(f"{timestamp}.".encode() + body).hexdigest()
    with around.db.reading() as session:
        before = find_receipt(session, source.id, digest)
    if before is not None:
        raise _replayed(before)
    try:
        profile = mapping_of(source, around.config_dir)
    except ConfigError as exc:
        raise SourceUnusable("error", "; ".join(exc.problems)) from exc
    rows = _rows(kind, body, profile)
    if len(rows) > source.max_rows:
        raise Refusal(413, f"{len(rows)} rows; at most {source.max_rows} in one request")
    # the same row sent again is the same row, whatever stood around it
    origin = origin_of(source.id, f"push-{hashlib.sha256(body).hexdigest()[:8]}")
    counts = Counts()
    store(around, posts_of(iter(rows), origin, profile, around.key, now), origin, counts)
    receipt = Receipt(
        source.id,
        digest,
        "",
        now,
        counts.rows,
        counts.saved,
        counts.known,
        counts.aside,
        {"taken": counts.taken, "have": counts.have},
    )
    with around.db.transaction() as session:
        first = write_receipt(session, receipt)
    if not first:  # two of the same at one moment: both were stored, and the rows of one are the other's
        raise _replayed(receipt)
    return Answer(counts.rows, counts.saved, counts.known, counts.aside, counts.bad)


def _replayed(before: Receipt) -> Refusal:
    return Refusal(
        409,
        "this request was taken already; to send the rows again, sign them with the present time",
        received=before.rows,
        taken=before.saved,
        known=before.known,
        set_aside=before.aside,
    )


# --- rows of a body


def _rows(kind: str, body: bytes, profile: Profile) -> list[RawRow]:
    name, _, rest = kind.partition(";")
    name = name.strip().lower()
    if profile.reader != "table":
        raise Refusal(415, "the profile of this source reads captured pages; they come as files")
    if name not in (*_JSON, *_LINES, *_CSV):
        raise Refusal(415, "Content-Type must be application/json, application/x-ndjson or text/csv")
    text = _text(body, rest, profile)
    if name in _CSV:
        return _csv(text, profile)
    if name in _LINES:
        lines = enumerate(text.split("\n"), start=1)  # not splitlines: a text may hold U+2028
        return [json_row(line, number, 0.0) for number, line in lines if line.strip()]
    return list(_json(text, profile))


def _text(body: bytes, parameters: str, profile: Profile) -> str:
    charset = next(
        (
            value.strip(" \"'")
            for part in parameters.split(";")
            for name, _, value in [part.partition("=")]
            if name.strip().lower() == "charset"
        ),
        profile.encoding,
    )
    for encoding in (charset,) if charset else ("utf-8-sig", "gb18030"):
        try:
            return body.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    raise Refusal(400, f"the body is not {charset or 'UTF-8 or GB18030'}")


def _csv(text: str, profile: Profile) -> list[RawRow]:
    found = list(csv_rows(io.StringIO(text), lambda cells: "text" in profile.match(cells), lambda: 0.0))
    if None not in found:
        raise Refusal(
            400,
            "no header: no column of the first rows is named like the text of a post; name it in the mapping profile",
        )
    return [row for row in found if row is not None]


def _json(text: str, profile: Profile) -> Iterator[RawRow]:
    try:
        whole = json.loads(text)
    except RecursionError as exc:
        raise Refusal(400, "not usable JSON: nested too deeply") from exc
    except ValueError as exc:
        raise Refusal(400, f"not JSON: {exc}") from exc
    if isinstance(whole, dict) and "text" not in profile.match(whole):
        lists = [value for value in whole.values() if isinstance(value, list)]
        whole = lists[0] if len(lists) == 1 else whole
    entries = whole if isinstance(whole, list) else [whole]
    for number, value in enumerate(entries, start=1):
        if not isinstance(value, dict):
            yield RawRow(number, {}, "expected an object { ... }")
            continue
        plain = {storable(key): storable(one) if isinstance(one, str) else one for key, one in value.items()}
        yield RawRow(number, plain)


# --- the source's state


def note_refusal(session: Session, source_id: str, reason: str, number: int, now: datetime) -> None:
    """Keep how often requests were refused, for the next look. Called once a minute at most, however many came."""
    name = _beat(source_id)
    before = beats.get_beat(session, name)
    total = int(before.value.get("count", 0)) if before is not None else 0
    beats.beat(session, name, now, {"count": total + number, "reason": reason[:200]})


def _beat(source_id: str) -> str:
    return f"refused:{source_id}"


def look_at_pushes(
    around: Surroundings, source: PushSource, state: SourceView, session: Session
) -> tuple[Look, dict[str, Any]]:
    """What came since the last look, in the caller's transaction. Raises SourceUnusable without a usable secret, ConfigError for a wrong profile."""
    now = around.clock()
    secret_of(around, source, "secret", source.secret)
    if source.old_secret:
        secret_of(around, source, "old_secret", source.old_secret)
    mapping_of(source, around.config_dir)
    look, cursor = Look(), dict(state.cursor or {})
    received = take_unfiled(session, source.id, now)
    for one in received:
        report = one.report or {}
        look.counts.add(
            Counts(
                one.rows,
                one.saved,
                one.known,
                one.aside,
                taken=int(report.get("taken", 0)),
                have=dict(report.get("have", {})),
            )
        )
    if received:
        look.notes.append(f"in {len(received)} requests")
    forget_receipts(session, source.id, now - max(timedelta(days=1), timedelta(seconds=3 * source.window_s)))
    refused = beats.get_beat(session, _beat(source.id))
    total = int(refused.value.get("count", 0)) if refused is not None else 0
    before = int(cursor.get("refused", 0))
    if refused is not None and total > before:
        sentence = f"{total - before} requests were refused, the last one because {refused.value['reason']}"
        if received:
            look.notes.append(sentence)
        else:
            look.problem, look.sentence = "error", f"nothing was taken since the last look, and {sentence}"
    cursor["refused"] = total
    if not received and state.last_fetch_at is None:
        look.notes.append("nothing was sent yet")
    return look, cursor
