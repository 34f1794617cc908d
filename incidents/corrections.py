"""What a person puts right: a post's judgement, which posts make an incident, and answers to proposals.

Each function works in the caller's transaction: the rows, the label (incidents.labels) and the record change together
or not at all. A refusal is `Refused` with its sentence in both languages, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from incidents import events, evidence_due, labels, lifecycle, proposals
from incidents.judgements import open_watching, reshaped
from incidents.models import Incident, IncidentEvent, IncidentHour, IncidentPost, Judgement, Post
from incidents.queries import family
from incidents.states import MOVES, OPEN_STATES, Detect, Merge, Refused, Restrict, Split, State


@dataclass(frozen=True)
class Splitting:
    """A new incident and how many posts (near-copies included) went there."""

    incident_id: int
    number: str
    posts: int


def correct(
    session: Session,
    post_id: int,
    said: Mapping[str, str],
    *,
    actor: str,
    channel: str,
    now: datetime,
    reason: str = "",
    confirm: bool = False,
) -> list[str]:
    """Set what a person says of a post (`said`: kind -> value, see labels.VALUES); returns the kinds labelled.

    Only what differs from the judgement is written; with `confirm` the rest of it counts as read and right too.
    What says nothing new is no error when it was said (an empty list), but saying nothing at all is refused.
    Of two people who correct at once the later one stands, and both are labelled.
    """
    for kind, value in said.items():
        if value not in labels.VALUES.get(kind, ()):
            raise Refused("所选的更正内容无效，请重新选择。", f"{kind} cannot be {value!r}")
    events.lock_chain(session)
    row = session.scalar(
        select(Judgement)
        .where(Judgement.post_id == post_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise Refused(
            "该帖子尚未研判或已清除，不能更正。", f"post {post_id} has no judgement (yet, or any more)"
        )
    before = {kind: labels.stands(row, kind) for kind in labels.VALUES}
    after = before | dict(said)
    changes = {kind: (before[kind], after[kind]) for kind in labels.VALUES if before[kind] != after[kind]}
    kinds = list(labels.VALUES) if confirm else list(changes)
    if not kinds and said:
        return []  # pressed twice, or somebody said the same a moment ago
    if not kinds:
        raise Refused("没有改动任何一项。", "nothing was changed")
    for kind in kinds:
        labels.put(row, kind, after[kind])
        labels.add_label(
            session,
            kind,
            post_id=post_id,
            value=after[kind],
            was=before[kind],
            model_version=row.model_version,
            actor=actor,
            reason=reason,
            now=now,
        )
    if "tone" in changes:
        _count_negative(session, post_id, int(after["tone"] == "neg") - int(before["tone"] == "neg"))
    lifecycle.record_act(
        session,
        "corrected",
        {
            "post": post_id,
            "changes": {kind: list(pair) for kind, pair in changes.items()},
            "confirmed": [kind for kind in kinds if kind not in changes],
            **({"reason": reason} if reason else {}),
        },
        actor=actor,
        channel=channel,
        now=now,
        incident_id=_incident_of(session, post_id),
    )
    session.flush()
    return kinds


def _count_negative(session: Session, post_id: int, step: int) -> None:
    member = session.get(IncidentPost, post_id)
    post = session.get(Post, post_id)
    if member is None or post is None or step == 0:
        return
    hour = post.published_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    session.execute(
        update(IncidentHour)
        .where(IncidentHour.incident_id == member.incident_id, IncidentHour.hour == hour)
        .values(negative=IncidentHour.negative + step)
        .execution_options(synchronize_session="fetch")
    )


def _incident_of(session: Session, post_id: int) -> int | None:
    return session.scalar(select(IncidentPost.incident_id).where(IncidentPost.post_id == post_id))


def take_out(
    session: Session,
    incident_id: int,
    post_id: int,
    *,
    actor: str,
    channel: str,
    now: datetime,
    reason: str = "",
) -> int:
    """A post does not belong to this incident (nor to one merged into it): out with it and its near-copies.

    Returns how many posts left. They stay in the database and in searches; only their membership ends.
    """
    events.lock_chain(session)
    incident, held = _held(session, incident_id)
    leaving = _with_copies(session, [post_id], held)
    _guard(leaving, held)
    for post in leaving:
        labels.add_label(
            session,
            "outside",
            post_id=post,
            incident_id=held[post],
            was=str(held[post]),
            actor=actor,
            reason=reason,
            now=now,
        )
    session.execute(
        delete(IncidentPost)
        .where(IncidentPost.post_id.in_(leaving))
        .execution_options(synchronize_session="fetch")
    )
    evidence_due.done(session, leaving)
    for touched in sorted({held[post] for post in leaving}):
        recount(session, touched)
    proposals.forget_posts(session, leaving, now)
    payload = {"posts": leaving, "note": reason}
    if incident.version:
        lifecycle.record(session, incident_id, "post_removed", payload, actor=actor, channel=channel, now=now)
    else:  # a watched cluster has no history of its own: its first event is always `detected`
        lifecycle.record_act(
            session, "post_removed", payload, actor=actor, channel=channel, now=now, incident_id=incident_id
        )
    return len(leaving)


def split(
    session: Session,
    incident_id: int,
    posts: Sequence[int],
    *,
    actor: str,
    channel: str,
    now: datetime,
    note: str = "",
    title: str = "",
    expected_version: int | None = None,
    idempotency_key: str | None = None,
) -> Splitting:
    """These posts (with their near-copies) are another matter: they move to a new incident.

    The new incident is detected now, by hand, at the same level; its legal clocks start now, those of the old one
    run on as they are. Both histories tell of it. The same `idempotency_key` again changes nothing.
    """
    events.lock_chain(session)
    if idempotency_key is not None:
        done = session.scalar(select(IncidentEvent).where(IncidentEvent.idempotency_key == idempotency_key))
        if done is not None:
            made = session.get_one(Incident, int(done.payload["into"]))
            return Splitting(made.id, made.number or "", made.posts)
    incident, held = _held(session, incident_id)
    if incident.state not in OPEN_STATES:
        raise Refused(
            "只有未办结的事件可以拆分。", f"the incident is {incident.state}: only an open one can be split"
        )
    leaving = _with_copies(session, posts, held)
    _guard(leaving, held)
    first = session.get_one(Post, leaving[0])
    judgement = session.get(Judgement, leaving[0])
    into = open_watching(
        session,
        title=(title.strip() or first.title.strip() or first.text.strip().split("\n", 1)[0])[:60],
        domain=judgement.domain if judgement else incident.domain,
        district=(judgement.districts[0] if judgement and judgement.districts else incident.district),
        first_posted_at=first.published_at,
        sketch={},
    )
    session.execute(
        update(IncidentPost)
        .where(IncidentPost.post_id.in_(leaving))
        .values(incident_id=into)
        .execution_options(synchronize_session="fetch")
    )
    for touched in sorted({into, *(held[post] for post in leaving)}):
        recount(session, touched)
    proposals.forget_posts(session, leaving, now)
    for post in leaving:
        labels.add_label(
            session,
            "split",
            post_id=post,
            incident_id=held[post],
            value=str(into),
            was=str(held[post]),
            actor=actor,
            reason=note,
            now=now,
        )
    number = incident.number or str(incident.id)
    why = {
        "track": "manual",
        "split_from": number,
        "posts": len(leaving),
        "sentence_zh": f"由{number}拆分而来：{len(leaving)} 条帖子是另一件事。",
        "sentence_en": f"split off {number}: {len(leaving)} posts are another matter.",
    }
    outcome = lifecycle.handle(
        session, into, Detect("manual", why, incident.level), actor=actor, channel=channel, now=now
    )
    if incident.restricted:  # who must not know the whole must not know its part
        readers = Restrict(
            tuple(incident.readers), note.strip() or f"由{number}拆分而来 / split off {number}"
        )
        lifecycle.handle(session, into, readers, actor=actor, channel=channel, now=now)
    lifecycle.handle(
        session,
        incident_id,
        Split(into, tuple(leaving), note),
        actor=actor,
        channel=channel,
        now=now,
        expected_version=expected_version,
        idempotency_key=idempotency_key,
    )
    return Splitting(into, outcome.number, len(leaving))


def _held(session: Session, incident_id: int) -> tuple[Incident, dict[int, int]]:
    """The incident, locked, and its posts with the incident (itself or one merged into it) that holds each."""
    incident = session.scalar(select(Incident).where(Incident.id == incident_id).with_for_update())
    if incident is None:
        raise Refused("没有这个事件。", f"there is no incident {incident_id}")
    if incident.state not in OPEN_STATES and incident.state != State.WATCHING:
        raise Refused(
            "事件已办结、并入或判为误报，不能再改动其帖子。",
            f"the incident is {incident.state}: its posts cannot be changed any more",
        )
    query = select(IncidentPost.post_id, IncidentPost.incident_id).where(
        IncidentPost.incident_id.in_(family(session, incident_id))
    )
    return incident, {row[0]: row[1] for row in session.execute(query)}


def _with_copies(session: Session, posts: Iterable[int], held: Mapping[int, int]) -> list[int]:
    chosen = set(posts)
    if not chosen:
        raise Refused("请选择要拆出的帖子。", "choose the posts that are another matter")
    if not chosen <= set(held):
        raise Refused(
            "所选帖子已不在本事件中，请刷新页面。",
            "a chosen post is no longer in this incident; reload the page",
        )
    copies = select(Judgement.post_id).where(Judgement.near_copy_of.in_(chosen))
    return sorted(chosen | (set(session.scalars(copies)) & set(held)))


def _guard(leaving: Sequence[int], held: Mapping[int, int]) -> None:
    if len(leaving) == len(held):
        raise Refused(
            "不能移走全部帖子：若整个事件有误，请判为误报。",
            "not all posts can leave: if the whole incident is wrong, mark it as a false alarm",
        )


def recount(session: Session, incident_id: int) -> None:
    """Count an incident anew from its posts, and mark its clustering state for the analysis to compute again."""
    query = (
        select(Post.id, Post.author_key, Post.published_at, Judgement.tone, Judgement.near_copy_of)
        .join(IncidentPost, IncidentPost.post_id == Post.id)
        .outerjoin(Judgement, Judgement.post_id == Post.id)
        .where(IncidentPost.incident_id == incident_id)
        .order_by(Post.id)
    )
    hours: dict[datetime, list[int]] = {}
    heard: set[str] = set()
    times: list[datetime] = []
    voices = 0
    for _, author, published, tone, copy in session.execute(query):
        voice = copy is None and (author is None or author not in heard)
        if author is not None:
            heard.add(author)
        hour = published.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        count = hours.setdefault(hour, [0, 0, 0])
        count[0] += 1
        count[1] += voice
        count[2] += tone == "neg"
        voices += voice
        times.append(published)
    session.execute(
        delete(IncidentHour)
        .where(IncidentHour.incident_id == incident_id)
        .execution_options(synchronize_session="fetch")
    )
    session.add_all(
        IncidentHour(incident_id=incident_id, hour=hour, posts=n, voices=v, negative=bad)
        for hour, (n, v, bad) in hours.items()
    )
    row = session.get_one(Incident, incident_id, populate_existing=True)
    row.posts, row.voices = len(times), voices
    if times:
        row.first_posted_at, row.last_post_at = min(times), max(times)
    reshaped(session, row)
    session.flush()


def accept(
    session: Session, proposal_id: int, *, actor: str, channel: str, now: datetime, reason: str = ""
) -> int:
    """Carry out a proposal; returns the incident to look at (the parent, or the new one)."""
    events.lock_chain(session)
    asked = _answer(session, proposal_id, "accepted", actor, reason, now)
    note = reason or "采纳系统建议"
    if asked.kind == "split":
        made = split(
            session,
            asked.incident_id,
            asked.posts,
            actor=actor,
            channel=channel,
            now=now,
            note=note,
        )
        about, result = asked.incident_id, made.incident_id
    else:
        child, parent = merge_order(session, asked)
        lifecycle.handle(session, child, Merge(parent, note), actor=actor, channel=channel, now=now)
        about, result = child, parent
    _note(session, "proposal_accepted", asked, about, actor, channel, reason, now)
    return result


def merge_order(session: Session, asked: proposals.ProposalView) -> tuple[int, int]:
    """(which incident is merged, into which): the newer into the older, unless only the older can still move."""
    older, newer = asked.incident_id, asked.other_id or 0
    states = {
        row[0]: row[1]
        for row in session.execute(select(Incident.id, Incident.state).where(Incident.id.in_((older, newer))))
    }
    for child, parent in ((newer, older), (older, newer)):
        if child in states and Merge in MOVES[State(states[child])]:
            return child, parent
    raise Refused(
        "两个事件都已进入办理，不能再并入。",
        "both incidents are being dealt with already: neither can be merged",
    )


def refuse(
    session: Session, proposal_id: int, *, actor: str, channel: str, now: datetime, reason: str = ""
) -> None:
    """No: kept as a label, and never asked again."""
    events.lock_chain(session)
    asked = _answer(session, proposal_id, "refused", actor, reason, now)
    if asked.kind == "merge":
        labels.add_label(
            session,
            "split",
            incident_id=asked.incident_id,
            value=str(asked.other_id),
            was="proposed",
            actor=actor,
            reason=reason,
            now=now,
        )
    else:
        there = set(session.scalars(select(Post.id).where(Post.id.in_(asked.posts))))
        for post in sorted(there):
            labels.add_label(
                session,
                "merge",
                post_id=post,
                incident_id=asked.incident_id,
                value=str(asked.incident_id),
                was="proposed",
                actor=actor,
                reason=reason,
                now=now,
            )
    _note(session, "proposal_refused", asked, asked.incident_id, actor, channel, reason, now)


def _answer(
    session: Session, proposal_id: int, state: str, actor: str, reason: str, now: datetime
) -> proposals.ProposalView:
    asked = proposals.decide(session, proposal_id, state, actor=actor, reason=reason, now=now)
    if asked is None:
        raise Refused(
            "该建议已由他人处理或已失效，请刷新页面。",
            "this proposal was answered by somebody else or is out of date; reload the page",
        )
    return asked


def _note(
    session: Session,
    kind: str,
    asked: proposals.ProposalView,
    about: int,
    actor: str,
    channel: str,
    reason: str,
    now: datetime,
) -> None:
    payload = {
        "proposal": asked.id,
        "kind": asked.kind,
        "other": asked.other_id,
        "posts": list(asked.posts),
        "score": asked.score,
        "reason": reason,
    }
    lifecycle.record_act(session, kind, payload, actor=actor, channel=channel, now=now, incident_id=about)
