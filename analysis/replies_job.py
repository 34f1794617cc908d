"""The job that reads official answers: each new one once, beside its case, into a reading and proposed promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from analysis.asks import CasePost
from analysis.replies import MODEL, ReplyReading, TemplateIndex, case_terms, read_reply
from analysis.spans import Span
from config.bundle import Bundle
from incidents import reply_answers, reply_readings
from incidents.beats import beat, get_beat
from incidents.promises import Proposed
from incidents.reply_answers import Answer, Case, Place
from incidents.reply_readings import StoredReading
from incidents.session import Database, Session

BEAT = "cursor:replies"
#: steps of one run: the first run over an old record must not keep the house waiting
STEPS = 25


@dataclass(frozen=True)
class RepliesSummary:
    """What one run did."""

    answers: int = 0
    promises: int = 0


def run(db: Database, bundle: Bundle, now: datetime) -> RepliesSummary:
    """Read the answers that came since the last run. Running it again does nothing."""
    answers = promises = 0
    for _ in range(STEPS):
        with db.reading() as session:
            place = _place(session)
            incidents, ahead = reply_answers.touched(session, place)
            waiting = [number for number in incidents if _unread(session, bundle, number)]
        if ahead == place:
            break
        with db.transaction() as session:
            for number in waiting:
                found, proposed = _read_incident(session, bundle, number, now)
                answers += found
                promises += proposed
            beat(session, BEAT, now, {"seq": ahead.seq, "post": ahead.post})
    return RepliesSummary(answers, promises)


def _place(session: Session) -> Place:
    last = get_beat(session, BEAT)
    return Place(int(last.value["seq"]), int(last.value["post"])) if last else Place()


def _unread(session: Session, bundle: Bundle, incident_id: int) -> list[Answer]:
    """Answers that were never read, that changed since, or that an earlier way of reading read."""
    read = reply_readings.marks_of(session, incident_id)
    return [
        answer
        for answer in reply_answers.answers_of(session, bundle.departments, incident_id)
        if read.get(answer.key) != (answer.mark, MODEL)
    ]


def _posts(cases: Sequence[Case]) -> list[CasePost]:
    return [CasePost(case.post_id, case.title, case.text, case.author) for case in cases]


def _read_incident(session: Session, bundle: Bundle, incident_id: int, now: datetime) -> tuple[int, int]:
    """Answers read and promises proposed in one incident."""
    unread = _unread(session, bundle, incident_id)
    if not unread:
        return 0, 0
    zone = ZoneInfo(bundle.settings.city.timezone)
    posts = _posts(reply_answers.cases_of(session, incident_id))
    others = [case_terms(_posts(one)) for one in reply_answers.other_cases(session, incident_id)]
    templates = TemplateIndex()
    for key, text in reply_answers.answers_before(session):
        templates.add(key, text)
    known = {rule.source for rule in bundle.rules.rules() if rule.source}
    count = 0
    for answer in unread:
        own = f"{incident_id}/{answer.key}"
        reading = read_reply(
            posts,
            answer.text,
            published_at=answer.published_at,
            zone=zone,
            others=others,
            templates=templates,
            key=own,
            known=known,
        )
        templates.add(own, answer.text)
        proposed = [
            Proposed(one.text, one.due_at, one.number if one.unit == "workdays" else None)
            for one in reading.promises
        ]
        reply_readings.save(
            session,
            _stored(answer, reading, now),
            key=answer.key,
            mark=answer.mark,
            details=details_of(reading),
            proposed=proposed,
            now=now,
        )
        count += len(proposed)
    return len(unread), count


def _stored(answer: Answer, reading: ReplyReading, now: datetime) -> StoredReading:
    return StoredReading(
        incident_id=answer.incident_id,
        seq=answer.seq,
        post_id=answer.post_id,
        department=answer.department,
        published_at=answer.published_at,
        read_at=now,
        model=reading.model,
        relevance=reading.relevance,
        coverage=reading.coverage,
        elements=reading.present,
        citations=reading.valid_citations,
        figures=len(reading.figures),
        buck_passing=reading.buck_passing is not None,
        template_of=reading.template_of,
        blame=reading.blame is not None,
        courtesy=reading.courtesy,
    )


def _at(span: Span | None) -> list[int] | None:
    return None if span is None else [span.start, span.end]


def details_of(reading: ReplyReading) -> dict[str, Any]:
    """Where each finding stands, as offsets: no word of the answer or of a citizen goes into the record."""
    return {
        "spans": {name: _at(span) for name, span in reading.elements.items() if span is not None},
        "asks": [
            {
                "post": one.ask.post,
                "at": _at(one.ask.span),
                "weight": round(one.ask.weight, 4),
                "score": one.score,
                "answered": one.answered,
            }
            for one in reading.asks
        ],
        "citations": [{"at": _at(one.span), "valid": one.valid} for one in reading.citations],
        "figures": [_at(span) for span in reading.figures],
        "buck_passing": _at(reading.buck_passing),
        "blame": _at(reading.blame),
        "only_referral": reading.only_referral,
        "explained": reading.explained,
    }
