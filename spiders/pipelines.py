"""From a raw item to a post that may be written: redacted, pseudonymised, with a usable time."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import datetime

from incidents.grams import storable
from incidents.posts import NewPost
from spiders.items import MAX_EXTERNAL_ID, MAX_TEXT, PostItem, Unusable
from spiders.pagetext import tidy
from spiders.redact import pseudonym, redact, redact_all, redact_value, without_author


def to_post(item: PostItem, key: bytes, fetched_at: datetime) -> NewPost | Unusable:
    """The post to save. An item without any words is unusable.

    Without a usable time the fetch time stands in and the post says so. What was redacted is counted in `provenance`.
    """
    title, text = (
        replace(one, text=without_author(one.text, item.author_raw))
        for one in redact_all(_bounded(item.title), _bounded(item.text))
    )
    body = text.text or title.text
    if not body:
        return Unusable(
            source_id=item.source_id,
            external_id=item.external_id,
            field="text",
            reason="neither title nor text",
            payload={"url": item.url},
        )
    provenance = dict(item.provenance)
    counts = dict(text.counts)
    for kind, number in title.counts.items():
        counts[kind] = counts.get(kind, 0) + number
    if counts:
        provenance["redacted"] = counts
    if len(body) > MAX_TEXT:
        provenance["cut_at"] = MAX_TEXT
    return NewPost(
        source_id=item.source_id,
        external_id=item.external_id,
        url=item.url,
        title=title.text[:500],
        text=body[:MAX_TEXT],
        published_at=item.published_at or fetched_at,
        published_estimated=item.published_at is None,
        fetched_at=fetched_at,
        author_key=pseudonym(key, item.source_id, item.author_raw),
        place_hint=redact(without_author(tidy(item.place_hint), item.author_raw)).text[:200],
        engagement=dict(item.engagement),
        provenance=provenance,
    )


def aside(bad: Unusable) -> Unusable:
    """`bad` fit to be written: payload and reason redacted; the payload keeps the external id for another try."""
    payload = redact_value(bad.payload)
    if bad.external_id:
        payload["external_id"] = bad.external_id
    return bad.model_copy(update={"payload": payload, "reason": redact(bad.reason).text[:500]})


def external_id(*parts: str) -> str:
    """The source's own key if it fits the column, else a hash of it; several parts are hashed together."""
    whole = "\n".join(parts)
    if len(parts) == 1 and 0 < len(whole) <= MAX_EXTERNAL_ID and whole.isprintable():
        return whole
    return "sha256:" + hashlib.sha256(storable(whole).encode()).hexdigest()


def _bounded(text: str) -> str:
    """Tidy text of at most twice the length that is kept: redacting a text without end takes minutes.

    Cut between words, so that no half of a number escapes redaction.
    """
    plain = tidy(storable(text))
    if len(plain) <= 2 * MAX_TEXT:
        return plain
    return re.sub(r"[0-9A-Za-z_.@+\s-]{1,100}$", "", plain[: 2 * MAX_TEXT])
