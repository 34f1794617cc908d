"""Objections, and where else a post stands: further answers in spool and evidence that hold its text. Opens the transaction of an objection."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime

from incidents import evidence, retention
from incidents.dossier import dossier, find_posts
from incidents.installation import Installation
from incidents.stops import Scope
from incidents.vault import Damaged
from incidents.warc import read
from spiders.evidence_job import vault

#: characters of a post by which other answers that hold it are known
_NEEDLE = 24
_LEAST = 10


def discard(home: Installation, names: Iterable[str]) -> int:
    """Delete these files wherever they lie; returns how many there were."""
    store = vault(home.bundle, home.keys)
    return sum(store.discard(name) for name in names)


def object_to(
    home: Installation, scope: Scope, target: str, *, reason: str, actor: str, channel: str, now: datetime
) -> retention.ObjectionReport:
    """Enter an objection, remove what is stored of it, originals too, and bar it; the one way from every channel.

    Raises incidents.states.Refused for a target that cannot be meant, or without a reason.
    """
    # a list is read again and again: other answers of the same source may hold the page's text; they are looked for
    # before the transaction, because reading the files may take long
    files = mentions(home, target) if scope == "page" else set()
    with home.db.transaction() as session:
        report = retention.objection(
            session, scope, target, now, reason=reason, actor=actor, channel=channel, files=files
        )
    discard(home, report.names)
    return report


def mentions(home: Installation, url: str) -> set[str]:
    """Names of further answers, in spool and evidence, that hold the text of a post at this address: a list is read again and again.

    Known by a run of characters of its stored text; a post with fewer than ten in a row is found at its own originals only.
    """
    store = vault(home.bundle, home.keys)
    needles: dict[str, set[str]] = {}
    with home.db.reading() as session:
        for id_ in find_posts(session, url):
            post = dossier(session, id_)
            if post is not None and (needle := _needle(f"{post.text}\n{post.title}")):
                needles.setdefault(post.source_id, set()).add(needle)
        names: dict[str, set[str]] = {source: set() for source in needles}
        for row in evidence.all_rows(session):
            if row.purged_at is None and row.source_id in names:
                names[row.source_id].add(row.name)
    for source, group in names.items():
        group.update(store.spooled(source))
    found: set[str] = set()
    for source, group in names.items():
        for name in group:
            with suppress(Damaged, OSError, ValueError):
                haystack = _letters(_decoded(read(store.read(name)).body))
                if any(needle in haystack for needle in needles[source]):
                    found.add(name)
    return found


def _needle(text: str) -> str:
    runs = [_letters(part) for part in re.split(r"\[[^\]]*\]|\n", text)]
    longest = max(runs, key=len, default="")
    return longest[:_NEEDLE] if len(longest) >= _LEAST else ""


def _letters(text: str) -> str:
    return "".join(sign for sign in text if sign.isalnum())


def _decoded(body: bytes) -> str:
    """The text of a page or of JSON, tags and escapes removed; good enough to look for a sentence."""
    for charset in ("utf-8", "gb18030"):
        with suppress(UnicodeDecodeError):
            text = body.decode(charset)
            break
    else:
        text = body.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), ensure_ascii=False)
    return html.unescape(re.sub(r"<[^>]*>", "", html.unescape(text)))
