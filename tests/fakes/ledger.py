"""Invented cases for the accountability table, each played through the product's own functions at simulated times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from incidents import clocks, lifecycle
from incidents.judgements import NewJudgement, add_post, open_watching, save_judgements
from incidents.posts import NewPost, save_posts
from incidents.queries import get_incident
from incidents.session import Database, Session
from incidents.states import (
    Acknowledge,
    Assign,
    Command,
    Confirm,
    Detect,
    FalseAlarm,
    Merge,
    Respond,
    Return,
    SignFor,
)

ZONE = ZoneInfo("Asia/Shanghai")
#: Monday 2 November 2026, 09:00 in Jinan
MONDAY = datetime(2026, 11, 2, 9, tzinfo=ZONE).astimezone(UTC)
URL = "https://gov.example.invalid/a"


@dataclass
class Matter:
    """One incident; every act is told in hours after its first post."""

    ledger: Ledger
    id: int
    begun: datetime

    def at(self, hours: float) -> datetime:
        """The instant `hours` after the first post."""
        return self.begun + timedelta(hours=hours)

    def do(self, hours: float, *commands: Command) -> Matter:
        """Carry out commands at a time."""
        with self.ledger.open() as session:
            for command in commands:
                now = self.at(hours)
                lifecycle.handle(session, self.id, command, actor="wang", channel="console", now=now)
                self._clocks(session, command, now)
        return self

    def _clocks(self, session: Session, command: Command, now: datetime) -> None:
        if isinstance(command, Respond):
            clocks.close_deadlines(session, self.id, at=command.published_at or now, stops_on="responded")
        elif isinstance(command, Merge | FalseAlarm):
            clocks.close_deadlines(session, self.id, at=now, outcome="cancelled")

    def note(self, hours: float, kind: str, payload: dict[str, Any] | None = None) -> Matter:
        """An event that is no command."""
        with self.ledger.open() as session:
            lifecycle.record(session, self.id, kind, payload or {}, now=self.at(hours))
        return self

    def clock(
        self, hours: float, allowed: float, *, rule: str = "R03", round_: int = 1, stops_on: str = "responded"
    ) -> Matter:
        """Open a clock."""
        with self.ledger.open() as session:
            clocks.open_deadline(
                session,
                incident_id=self.id,
                rule_id=rule,
                round=round_,
                stops_on=stops_on,
                started_at=self.at(hours),
                due_at=self.at(hours + allowed),
                provisional=False,
                calendar_version="test",
                trace=["test"],
            )
        return self

    @property
    def number(self) -> str:
        """Its number."""
        with self.ledger.db.reading() as session:
            found = get_incident(session, self.id)
        assert found is not None
        return found.number


@dataclass
class Ledger:
    """A database and hands to put cases into it."""

    db: Database
    posts: int = field(default=0)
    _session: Session | None = None

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Everything inside in one transaction: a hundred would take seconds."""
        with self.db.transaction() as session:
            self._session = session
            try:
                yield
            finally:
                self._session = None

    @contextmanager
    def open(self) -> Iterator[Session]:
        """The transaction that is open, or one of its own."""
        if self._session is not None:
            yield self._session
            return
        with self.db.transaction() as session:
            yield session

    def matter(
        self,
        begun: datetime = MONDAY,
        *,
        fetched: float = 0.1,
        detected: float = 0.2,
        paged: float | None = 0.25,
        level: str = "general",
        domain: str = "food_safety",
        district: str = "历下区",
        authors: int = 2,
    ) -> Matter:
        """An incident that was posted at `begun`, fetched, detected and told of so many hours later."""
        with self.open() as session:
            about = open_watching(
                session, title="虚构事件", domain=domain, district=district, first_posted_at=begun, sketch={}
            )
            for index in range(authors):
                self.posts += 1
                (post_id,) = save_posts(session, [self._post(begun, begun + timedelta(hours=fetched))]).ids
                save_judgements(
                    session, [_judgement(post_id, domain, district)], begun + timedelta(hours=fetched)
                )
                add_post(
                    session, about, post_id, similarity=0.9, voice=True, published_at=begun,
                    negative=index % 2 == 0, now=begun + timedelta(hours=fetched),
                )  # fmt: skip
        made = Matter(self, about, begun)
        made.do(detected, Detect("burst", {"track": "burst"}, level))
        if paged is not None:
            made.note(paged, "page_sent", {"step": 0})
        return made

    def _post(self, when: datetime, fetched: datetime) -> NewPost:
        return NewPost(
            source_id="forum",
            external_id=f"x{self.posts}",
            url=f"https://forum.example.invalid/{self.posts}",
            title="",
            text=f"虚构帖文第{self.posts}号",
            published_at=when,
            published_estimated=False,
            fetched_at=fetched,
            author_key=f"a{self.posts}",
        )

    def plain(
        self,
        unit: str,
        *,
        begun: datetime = MONDAY,
        assigned: float = 1.0,
        signed: float | None = None,
        answered: float | None = 20.0,
        allowed: float = 48.0,
        co: tuple[str, ...] = (),
        **more: Any,
    ) -> Matter:
        """A case as most are: acknowledged, confirmed, assigned to one department, answered, one clock from the detection."""
        detected = more.get("detected", 0.2)
        made = self.matter(begun, **more)
        made.clock(detected, allowed)
        made.do(max(assigned - 0.5, more.get("paged") or 0.25), Acknowledge(epoch=1))
        made.do(assigned - 0.1, Confirm())
        made.do(assigned, Assign(unit, co=co))
        if signed is not None:
            made.do(signed, SignFor())
        if answered is not None:
            made.do(answered, Respond(URL))
        return made


def returned(reason: str = "不属本单位职责") -> Return:
    """A return with a reason."""
    return Return(reason, late_approved_by="王督办")


def _judgement(post_id: int, domain: str, district: str) -> NewJudgement:
    return NewJudgement(
        post_id=post_id, domain=domain, domain_score=0.9, tone="neg", tone_score=0.8, snownlp_score=0.2,
        signal=True, signal_score=0.9, risk=0, risk_score=0.1, model_version="test", districts=[district],
    )  # fmt: skip
