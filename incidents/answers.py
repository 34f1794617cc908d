"""Official answers that a platform shows below a citizen's message, when they come or change after the message was stored.

The answer stands in the post's provenance (redacted by the connector). An incident that holds the post gets a note in its history: whoever
works on it sees that the platform shows an answer, and registers the response, which alone stops a clock. One message answered is not all answered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, tuple_, update

from incidents import judged, lifecycle
from incidents.models import IncidentPost, JsonDict, Post
from incidents.posts import NewPost
from incidents.session import Session
from incidents.states import Note, Refused

#: keys of `provenance` that the platform changes later
KEYS = ("answer", "state")
#: characters of an answer in the note; the whole answer stands with the post
SHOWN = 200


def notice(session: Session, posts: Sequence[NewPost]) -> int:
    """Take later answers and states over into the stored posts; returns how many answers were new. Caller's transaction."""
    told = {
        (post.source_id, post.external_id): post for post in posts if any(k in post.provenance for k in KEYS)
    }
    if not told:
        return 0
    query = select(Post.id, Post.source_id, Post.external_id, Post.provenance).where(
        tuple_(Post.source_id, Post.external_id).in_(list(told))
    )
    answered = 0
    for number, source, external, stored in session.execute(query).all():
        post = told[source, external]
        # what is no longer shown stays: an answer was given
        seen = {key: post.provenance[key] for key in KEYS if post.provenance.get(key)}
        changed = {key: value for key, value in seen.items() if stored.get(key) != value}
        if not changed:
            continue
        merged: JsonDict = {**stored, **changed, "answer_noticed_at": post.fetched_at.isoformat()}
        session.execute(update(Post).where(Post.id == number).values(provenance=merged))
        if "answer" in changed:
            answered += 1
            _note(session, number, changed["answer"], post.fetched_at)
    return answered


def _note(session: Session, post_id: int, answer: JsonDict, now: datetime) -> None:
    words = " ".join(str(answer.get("text", "")).split())
    shown = words if len(words) <= SHOWN else f"{words[:SHOWN]}…"
    text = f"来源平台已公布答复（帖子 {post_id}，{answer.get('organization') or '未署名'}）：{shown}"
    mark = hashlib.sha256(words.encode()).hexdigest()[:16]
    held = session.scalars(select(IncidentPost.incident_id).where(IncidentPost.post_id == post_id)).all()
    for incident in {judged.root_of(session, one) for one in held}:
        try:
            lifecycle.handle(
                session,
                incident,
                Note(text),
                actor="system",
                channel="system",
                now=now,
                idempotency_key=f"answer:{incident}:{post_id}:{mark}",
            )
        except Refused:
            continue  # only watched: there is nobody to tell, and the answer stands with the post
