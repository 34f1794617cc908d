"""What official answers say, as the page of an incident shows it: each finding with the words that show it, as far as the visitor may read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alerts.calendar import load_calendar
from alerts.promises import due_of
from console import clerk, masks
from console.context import Visit
from console.rights import may_answer
from incidents import promises, reply_answers, reply_readings
from incidents.promises import Promise
from incidents.queries import EventView, IncidentView, PostView
from incidents.reply_readings import ELEMENTS, StoredReading
from incidents.session import Session

#: characters of a quotation
QUOTED = 40
_STOPS = "。；！？，：\n"
#: answers that a form letter must equal before a warning is shown
TEMPLATE = 5


@dataclass(frozen=True)
class Element:
    """One of the eight elements: there or not, with the words that show it."""

    code: str
    there: bool
    words: str


@dataclass(frozen=True)
class Asked:
    """One thing that people ask for. `words` is empty where the visitor may not read the post."""

    words: str
    post: int
    share: int  # per cent of the voices
    answered: bool


@dataclass(frozen=True)
class Shown:
    """One answer on the page."""

    reading: StoredReading
    key: str
    text: str
    elements: tuple[Element, ...]
    asks: tuple[Asked, ...]
    buck_passing: str
    blame: str
    template: bool
    only_referral: bool

    @property
    def present(self) -> int:
        """How many of the eight elements there are."""
        return sum(one.there for one in self.elements)

    @property
    def open_asks(self) -> int:
        """Asks that the answer does not take up."""
        return sum(not one.answered for one in self.asks)


@dataclass(frozen=True)
class Promised:
    """One promise on the page; `due` is its day, counted by the calendar where only working days were said."""

    promise: Promise
    due: Any
    overdue: bool


def _words(text: str, at: Sequence[int] | None) -> str:
    """The words of a finding with the rest of their clause, cut to some characters."""
    if not text or not at:
        return ""
    start, end = at
    left = max(text.rfind(mark, 0, start) for mark in _STOPS) + 1
    right = min((found for mark in _STOPS if (found := text.find(mark, end)) >= 0), default=len(text))
    left, right = max(left, end - QUOTED, 0), min(right, max(end, left + QUOTED))
    return " ".join(text[left:right].split())


def of_incident(
    here: Visit,
    session: Session,
    incident: IncidentView,
    posts: Sequence[PostView],
    record: Sequence[EventView],
) -> dict[str, Any]:
    """Answers with their readings and promises, for the page. `posts` and `record` are what this visitor is shown."""
    shown = {post.id: post for post in posts}
    seen = {event.seq for event in record}
    masked = masks.applies(here, incident)
    answers = []
    for one in reply_readings.detailed(session, incident.id):
        reading = one.reading
        if clerk.is_clerk(here) and reading.post_id is not None and reading.post_id not in shown:
            continue  # an answer below a post that complains about the clerk's unit
        if reading.seq is not None and reading.seq not in seen:
            continue
        text = reply_answers.text_of(session, incident.id, one.key, one.mark) or ""
        if masked and reading.post_id is not None:
            text = ""
        answers.append(_shown(one, text, {} if masked else shown))
    keys = {one.key for one in answers}
    calendar = load_calendar(
        here.console.bundle.settings.config_dir, here.console.bundle.settings.city.timezone
    )
    found = [
        Promised(one, due_of(one, calendar), one.overdue(here.now))
        for one in promises.promises_of(session, [incident.id]).get(incident.id, ())
        if not one.answer or one.answer in keys
    ]
    return {
        "replies": answers,
        "promises": [one for one in found if one.promise.state not in ("proposed", "dismissed")],
        "may_promise": may_answer(here),
        "proposed": [one for one in found if one.promise.state == "proposed"],
    }


def _shown(one: reply_readings.Detailed, text: str, posts: dict[int, PostView]) -> Shown:
    reading, details = one.reading, one.details
    spans = details.get("spans", {})
    return Shown(
        reading=reading,
        key=one.key,
        text=text,
        elements=tuple(
            Element(code, bool(reading.elements.get(code)), _words(text, spans.get(code)))
            for code in ELEMENTS
        ),
        asks=tuple(_ask(given, posts) for given in details.get("asks", [])),
        buck_passing=_words(text, details.get("buck_passing")),
        blame=_words(text, details.get("blame")),
        template=reading.template_of >= TEMPLATE,
        only_referral=bool(details.get("only_referral")),
    )


def _ask(given: dict[str, Any], posts: dict[int, PostView]) -> Asked:
    post = posts.get(given["post"])
    start, end = given["at"]
    words = " ".join(f"{post.title}\n{post.text}"[start:end].split())[: 3 * QUOTED] if post else ""
    return Asked(words, given["post"], round(100 * given["weight"]), bool(given["answered"]))
