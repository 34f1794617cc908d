"""`quansheng why POST|INCIDENT`: why it was judged, placed, raised, or not; in sentences and as data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from analysis.job import why_not
from analysis.judge import Thresholds
from analysis.why import (
    Sentence,
    flagged_so,
    graded_so,
    judged_so,
    likeness,
    placed_so,
    silenced_words,
)
from incidents import judged, labels, queries
from incidents.dossier import Dossier, dossier, find_posts
from incidents.installation import Installation, Problem
from incidents.queries import IncidentView
from incidents.session import Session
from incidents.states import State

_NUMBER = re.compile(r"[Qq][Ss]-\d{4}-\d{1,12}")
_CLUSTER = re.compile(r"cluster:(\d{1,18})", re.IGNORECASE)
#: of a cluster, the posts whose danger words are told
POSTS_READ = 200


@dataclass(frozen=True)
class Answer:
    """The answer about one post or incident."""

    title: str
    sentences: tuple[Sentence, ...]
    data: dict[str, Any]

    def text(self, lang: str) -> str:
        """For a terminal: what it is about, then one sentence a line."""
        return "\n".join([self.title, *(f"  {sentence.of(lang)}" for sentence in self.sentences)])

    def as_dict(self) -> dict[str, Any]:
        """For scripts: the numbers, and the sentences in both languages."""
        return {
            "title": self.title,
            **self.data,
            "sentences": {
                "zh": [sentence.zh for sentence in self.sentences],
                "en": [sentence.en for sentence in self.sentences],
            },
        }


def answers(home: Installation, key: str, now: datetime) -> list[Answer]:
    """Why, for a post id, a post's address at its source, an incident's number, or `cluster:12`.

    An address may name several posts (each is answered). Raises Problem when nothing has that name.
    """
    key = key.strip()
    with home.db.reading() as session:
        if _NUMBER.fullmatch(key):
            found = queries.get_incident(session, key.upper())
            if found is None:
                raise Problem(
                    f"{key}: no such incident; `quansheng incidents list --all` shows their numbers"
                )
            return [_incident(session, home, found, now)]
        cluster = _CLUSTER.fullmatch(key)
        if cluster:
            found = queries.get_incident(session, int(cluster[1]))
            if found is None:
                raise Problem(f"{key}: no such cluster; `quansheng why POST` names the one a post is in")
            return [_incident(session, home, found, now)]
        ids = find_posts(session, key) if key else []
        posts = [post for post in (dossier(session, id_) for id_ in ids) if post is not None]
        if not posts:
            raise Problem(
                f"{key or '(nothing)'}: no post has this id or address; give a post id, the post's address at its source, "
                "an incident's number (QS-2026-000001) or cluster:ID"
            )
        return [_post(session, home, post) for post in posts]


def _post(session: Session, home: Installation, post: Dossier) -> Answer:
    limits = Thresholds.load()
    watched = frozenset(home.settings.analysis.watched_domains)
    holder = None
    if post.incident_id is not None:
        holder = queries.get_incident(session, judged.root_of(session, post.incident_id))
    sentences = judged_so(post, limits)
    if holder is not None and holder.number:
        sentences.append(
            Sentence(
                f"在事件 {holder.number}“{holder.title}”中。",
                f"It is in incident {holder.number}, {holder.title}.",
            )
        )
    elif holder is not None:
        sentences.append(
            Sentence(
                f"在关注中的一组（cluster:{holder.id}“{holder.title}”），尚未提示。",
                f"It is in a watched group (cluster:{holder.id}, {holder.title}) that was not raised.",
            )
        )
    sentences += placed_so(post, watched, limits)
    data: dict[str, Any] = {
        "post": post.id,
        "source": post.source_id,
        "url": post.url,
        "published_at": post.published_at,
        "judgement": post.judgement,
        "thresholds": {"unsure": dict(limits.unsure), "cluster_signal": limits.cluster_signal},
        "said": [label for kind, label in post.said.items() if kind in labels.VALUES],
        "incident": holder.number if holder and holder.number else None,
        "cluster": holder.id if holder and not holder.number else None,
        "similarity": post.similarity,
        "likeness": dict(likeness(post)),
    }
    title = post.title or post.text[:40].replace("\n", " ")
    return Answer(f"{post.id}  {title}", tuple(sentences), data)


def _incident(session: Session, home: Installation, incident: IncidentView, now: datetime) -> Answer:
    sentences: list[Sentence]
    data: dict[str, Any] = {
        "incident": incident.number or None,
        "cluster": None if incident.number else incident.id,
        "state": str(incident.state),
        "posts": incident.posts,
        "voices": incident.voices,
    }
    if incident.state == State.WATCHING:
        why = why_not(session, home.bundle, incident.id, now) or {}
        sentences = [Sentence("没有提示，仍在关注。", "It was not raised; it is watched.")]
        sentences += flagged_so(why)
        members = queries.posts_of(session, incident.id, limit=POSTS_READ)
        judgements = [
            found.judgement.reasons
            for found in (dossier(session, post.id) for post in members)
            if found is not None and found.judgement is not None
        ]
        sentences += silenced_words(judgements)
        data |= {"why": why}
    else:
        sentences = [_raised(incident, home), *flagged_so(incident.why), *graded_so(incident.why)]
        sentences += _fate(session, incident)
        data |= {"why": incident.why, "level": incident.level, "detected_at": incident.detected_at}
    return Answer(f"{incident.number or f'cluster:{incident.id}'}  {incident.title}", tuple(sentences), data)


def _raised(incident: IncidentView, home: Installation) -> Sentence:
    when = (
        incident.detected_at.astimezone(home.zone).strftime("%Y-%m-%d %H:%M") if incident.detected_at else "?"
    )
    zh = {"fast": "快速通道", "burst": "突增通道", "manual": "人工"}.get(incident.track, incident.track)
    en = {"fast": "the fast track", "burst": "the burst track", "manual": "a person"}.get(
        incident.track, incident.track
    )
    return Sentence(f"{when} 由{zh}提示。", f"Raised {when} by {en}.")


def _fate(session: Session, incident: IncidentView) -> list[Sentence]:
    """What became of it, where that says more than its state: a false alarm, a merge."""
    if incident.state == State.FALSE_ALARM:
        event = next(e for e in reversed(queries.events_of(session, incident.id)) if e.kind == "false_alarm")
        reason, note = str(event.payload.get("reason", "")), str(event.payload.get("note") or "")
        zh, en = FALSE_ALARM.get(reason, (reason, reason))
        added = f"（{note}）" if note else ""
        return [
            Sentence(
                f"{event.actor} 判为误报：{zh}{added}。",
                f"{event.actor} marked it as a false alarm: {en}{added}.",
            )
        ]
    if incident.state == State.MERGED and incident.parent_id is not None:
        parent = queries.get_incident(session, incident.parent_id)
        if parent is not None:
            return [
                Sentence(
                    f"已并入 {parent.number}“{parent.title}”。",
                    f"Merged into {parent.number}, {parent.title}.",
                )
            ]
    return []


#: typed reasons of a false alarm, as the console names them
FALSE_ALARM = {
    "wrong_place": ("不在本市", "not in this city"),
    "not_now": ("旧事重提，并非现在发生", "an old matter, not happening now"),
    "fiction_or_history": ("小说、影视或历史内容", "fiction, film or history"),
    "advertisement": ("广告或营销", "an advertisement"),
    "duplicate_topic": ("与其他事件重复", "another incident has it"),
    "no_issue": ("不构成问题", "no issue"),
    "other": ("其他", "other"),
}
