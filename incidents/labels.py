"""What people taught: every correction as a label, the latest of one post and kind counts.

About a post, kinds `tone`, `domain`, `signal`, `risk`, `about`: `value` is what the person said, `was` what stood
there. About where it belongs: `merge` (the post belongs to incident `value`), `split` (it was moved from incident
`was` to `value`), `outside` (it does not belong to incident `was`). About an incident: `merge` (one matter with
incident `value`), `split` (another matter than incident `value`), `false_alarm` (`value` is the typed reason)
and `restored`. Training reads `training_labels` and `pair_labels`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations, product

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from config.domains import IDS
from incidents.chunks import chunks
from incidents.models import Incident, IncidentPost, Judgement, Label, Post
from incidents.states import FALSE_ALARM_REASONS

#: whom a complaint is about; "" when the text does not say it
ABOUT = ("department", "school", "company", "other", "")
#: kinds of what can be corrected in a judgement, with the values that a person may choose
VALUES: dict[str, tuple[str, ...]] = {
    "tone": ("neg", "neu", "pos"),
    "domain": IDS,
    "signal": ("yes", "no"),
    "risk": ("0", "1", "2", "3"),
    "about": ABOUT,
}
PLACE_KINDS = ("merge", "split", "outside")
KINDS = (*VALUES, *PLACE_KINDS, "false_alarm", "restored")
#: of an incident that was merged or kept apart, its first posts stand for it in pairs
PAIR_POSTS = 5


@dataclass(frozen=True)
class LabelView:
    """One label as it was given."""

    id: int
    post_id: int | None
    incident_id: int | None
    kind: str
    value: str
    was: str
    model_version: str
    actor: str
    reason: str
    created_at: datetime
    #: what the model had said before the first person spoke
    machine: str = ""

    @property
    def changed(self) -> bool:
        """Whether the person said something else than the machine; False: it was confirmed."""
        return self.value != self.was


@dataclass(frozen=True)
class TrainingLabel:
    """The latest word of a person on one post, with the post's text as it is stored (redacted)."""

    post_id: int
    title: str
    text: str
    published_at: datetime
    kind: str  # tone | domain | signal | risk | about
    value: str


@dataclass(frozen=True)
class PairLabel:
    """Two posts of which a person said that they are (not) about the same matter; `a` < `b`."""

    a: int
    b: int
    same: bool


def add_label(
    session: Session,
    kind: str,
    *,
    actor: str,
    now: datetime,
    post_id: int | None = None,
    incident_id: int | None = None,
    value: str = "",
    was: str = "",
    model_version: str = "",
    reason: str = "",
) -> int:
    """Write one label in the caller's transaction; returns its id. Raises ValueError for a kind or value unknown."""
    if kind not in KINDS:
        raise ValueError(f"label kind {kind!r}: one of {', '.join(KINDS)} expected")
    if kind in VALUES and value not in VALUES[kind]:
        raise ValueError(f"label {kind} = {value!r}: one of {', '.join(VALUES[kind])} expected")
    if kind == "false_alarm" and value not in FALSE_ALARM_REASONS:
        raise ValueError(f"false alarm {value!r}: one of {', '.join(FALSE_ALARM_REASONS)} expected")
    row = Label(
        post_id=post_id,
        incident_id=incident_id,
        kind=kind,
        value=value,
        was=was,
        model_version=model_version,
        actor=actor,
        reason=reason,
        created_at=now,
    )
    session.add(row)
    session.flush()
    return row.id


def latest(session: Session, post_ids: Iterable[int]) -> dict[int, dict[str, LabelView]]:
    """For each of these posts that has labels: kind -> the latest one."""
    ids = sorted(set(post_ids))
    found: dict[int, dict[str, LabelView]] = {}
    for chunk in chunks(ids):
        newest = (
            select(func.max(Label.id)).where(Label.post_id.in_(chunk)).group_by(Label.post_id, Label.kind)
        )
        rows = session.scalars(select(Label).where(Label.id.in_(newest)).order_by(Label.id)).all()
        if not rows:
            continue  # the usual case: a batch of new posts
        first = select(func.min(Label.id)).where(Label.post_id.in_(chunk)).group_by(Label.post_id, Label.kind)
        said = select(Label.post_id, Label.kind, Label.was).where(Label.id.in_(first))
        machine = {(row[0], row[1]): row[2] for row in session.execute(said)}
        for row in rows:
            if row.post_id is not None:
                found.setdefault(row.post_id, {})[row.kind] = _view(row, machine[(row.post_id, row.kind)])
    return found


def of_post(session: Session, post_id: int) -> list[LabelView]:
    """Every label of one post, oldest first."""
    machine: dict[str, str] = {}
    rows = session.scalars(select(Label).where(Label.post_id == post_id).order_by(Label.id))
    return [_view(row, machine.setdefault(row.kind, row.was)) for row in rows]


def of_incident(session: Session, incident_id: int) -> list[LabelView]:
    """Labels about one incident as a whole, oldest first."""
    query = select(Label).where(Label.incident_id == incident_id, Label.post_id.is_(None))
    return [_view(row) for row in session.scalars(query.order_by(Label.id))]


def count_labels(session: Session) -> dict[str, int]:
    """How many labels there are of each kind, given again or not."""
    query = select(Label.kind, func.count()).group_by(Label.kind)
    return {row[0]: row[1] for row in session.execute(query)}


def _view(row: Label, machine: str = "") -> LabelView:
    return LabelView(
        id=row.id,
        post_id=row.post_id,
        incident_id=row.incident_id,
        kind=row.kind,
        value=row.value,
        was=row.was,
        model_version=row.model_version,
        actor=row.actor,
        reason=row.reason,
        created_at=row.created_at,
        machine=machine,
    )


def reapply(session: Session, post_ids: Sequence[int]) -> int:
    """Put people's words back over new judgements of these posts; returns how many posts have any.

    A judgement may be made anew by a newer model: what a person has said stays said.
    """
    said = latest(session, post_ids)
    changed = 0
    for post_id, by_kind in said.items():
        kinds = [kind for kind in by_kind if kind in VALUES]
        row = session.get(Judgement, post_id, populate_existing=True) if kinds else None
        if row is not None:
            for kind in kinds:
                put(row, kind, by_kind[kind].value)
            changed += 1
    session.flush()
    return changed


def put(row: Judgement, kind: str, value: str) -> None:
    """Write a person's word into a judgement. Scores stay the model's; a post that a person read needs none to."""
    if kind == "signal":
        row.signal = value == "yes"
    elif kind == "risk":
        row.risk = int(value)
    else:
        setattr(row, kind, value)
    row.abstain = False


def stands(row: Judgement, kind: str) -> str:
    """What a judgement says now, as a label would write it."""
    if kind == "signal":
        return "yes" if row.signal else "no"
    return str(getattr(row, kind))


def training_labels(session: Session) -> list[TrainingLabel]:
    """What people said about posts, the latest per post and kind, in order of posts; confirmed values included."""
    newest = select(func.max(Label.id)).where(Label.kind.in_(list(VALUES)), Label.post_id.is_not(None))
    query = (
        select(Post.id, Post.title, Post.text, Post.published_at, Label.kind, Label.value)
        .join(Label, Label.post_id == Post.id)
        .where(Label.id.in_(newest.group_by(Label.post_id, Label.kind)))
        .order_by(Post.id, Label.kind)
    )
    return [TrainingLabel(*row) for row in session.execute(query)]


@dataclass(frozen=True)
class Verdicts:
    """What people's last word says of the machine's first one: how often it was right, and what it took for what."""

    posts: int
    #: kind -> (right, of so many)
    by_kind: dict[str, tuple[int, int]]
    #: (kind, machine, person) -> posts, where they differ
    confusions: dict[tuple[str, str, str], int]


def verdicts(session: Session) -> Verdicts:
    """What the machine had said before the first person spoke, against the last word: no model has seen that before.

    People open what looks wrong, so these shares are lower bounds.
    """
    ids = sorted({label.post_id for label in training_labels(session)})
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    wrong: Counter[tuple[str, str, str]] = Counter()
    for said in latest(session, ids).values():
        for kind, label in said.items():
            if kind not in VALUES:
                continue
            total[kind] += 1
            right[kind] += label.machine == label.value
            if label.machine != label.value:
                wrong[(kind, label.machine, label.value)] += 1
    by_kind = {kind: (right[kind], total[kind]) for kind in VALUES if total[kind]}
    return Verdicts(len(ids), by_kind, dict(wrong.most_common()))


def waiting(session: Session, since: datetime | None) -> int:
    """Posts whose judgement a person has corrected or confirmed since then: what the next training would learn."""
    query = select(func.count(Label.post_id.distinct())).where(Label.kind.in_(list(VALUES)))
    return session.scalar(query.where(Label.created_at > since) if since is not None else query) or 0


def pair_labels(session: Session) -> list[PairLabel]:
    """Pairs of posts that people brought together or took apart; of what was said twice, the last word.

    An incident is represented by its first posts at that time (PAIR_POSTS), so that a big one does not drown all
    others. A post that was taken out differs from those that stayed.
    """
    found: dict[tuple[int, int], bool] = {}

    def say(pairs: Iterable[tuple[int, int]], same: bool) -> None:
        for one, other in pairs:
            if one != other:
                key = (min(one, other), max(one, other))
                found.pop(key, None)
                found[key] = same

    query = select(Label).where(Label.kind.in_(PLACE_KINDS)).order_by(Label.id)
    together: dict[tuple[int, datetime], list[int]] = {}
    for row in session.scalars(query):
        if row.post_id is None:
            if row.incident_id is not None and row.value.isdigit():
                mine = _first_posts(session, row.incident_id, row.created_at)
                theirs = _first_posts(session, int(row.value), row.created_at)
                say(product(mine, theirs), row.kind == "merge")
            continue
        if row.kind == "merge" and row.value.isdigit():
            say(product([row.post_id], _first_posts(session, int(row.value), row.created_at)), True)
            continue
        if row.was.isdigit():
            say(product([row.post_id], _first_posts(session, int(row.was), row.created_at)), False)
        if row.kind == "split" and row.value.isdigit():
            group = together.setdefault((int(row.value), row.created_at), [])
            if len(group) < PAIR_POSTS:
                group.append(row.post_id)
                say(combinations(group, 2), True)
    return [PairLabel(a, b, same) for (a, b), same in sorted(found.items())]


def _first_posts(session: Session, incident_id: int, until: datetime) -> list[int]:
    query = (
        select(IncidentPost.post_id)
        .where(IncidentPost.incident_id == incident_id, IncidentPost.added_at <= until)
        .order_by(IncidentPost.post_id)
        .limit(PAIR_POSTS)
    )
    return list(session.scalars(query))


def label_command(
    session: Session, incident: Incident, kind: str, payload: dict[str, object], *, actor: str, now: datetime
) -> None:
    """The label of an event that teaches something (merged, unmerged, false_alarm, restored); others leave none."""
    reason = str(payload.get("note") or "")
    about: tuple[str, str, str]
    match kind:
        case "merged":
            about = ("merge", str(payload["parent_id"]), "")
        case "unmerged":
            about = ("split", str(incident.parent_id or ""), "merged")
        case "false_alarm":
            about = ("false_alarm", str(payload["reason"]), incident.track)
        case "restored":
            about, reason = ("restored", "", "false_alarm"), str(payload.get("reason") or "")
        case _:
            return
    add_label(
        session,
        about[0],
        incident_id=incident.id,
        value=about[1],
        was=about[2],
        actor=actor,
        now=now,
        reason=reason,
    )
