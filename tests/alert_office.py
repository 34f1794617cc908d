"""An office in miniature for tests of alerts: a bundle with two channels, one incident, and hands to move it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alerts import job
from alerts.job import TickSummary
from alerts.sender import SendSummary
from config.bundle import Bundle, load_bundle
from config.keys import Keys
from incidents import clocks, judgements, lifecycle, outbox, posts, queries
from incidents.clocks import DeadlineView
from incidents.outbox import OutboxRow
from incidents.posts import NewPost
from incidents.queries import EventView, IncidentView
from incidents.session import Database, Session
from incidents.states import Command, Detect

#: Tuesday 24 November 2026, 15:10 in Jinan: 白班 of the roster
T0 = datetime(2026, 11, 24, 7, 10, tzinfo=UTC)
KEYS = Keys.derive(b"a secret that opens nothing but tests")
ROSTER = """
version: v3
fallback: zhou
people:
  - {id: lin, name: 林东, email: lin@jinan.example}
  - {id: he, name: 何南, email: he@jinan.example}
  - {id: zhou, name: 周北, email: zhou@jinan.example}
weekly:
  - {name: 白班, from: "08:00", until: "20:00", primary: lin, secondary: he, leader: zhou}
  - {name: 夜班, from: "20:00", until: "08:00", primary: he, secondary: lin, leader: zhou}
"""
ROUTES = """
routes:
  - name: 其他
    channels: [slack, email]
    ladder: [primary, secondary, leader]
"""


def bundle_for(
    folder: Path,
    *,
    slack: str = "",
    mail_port: int = 0,
    roster: str = ROSTER,
    routes: str = ROUTES,
    more: dict[str, Any] | None = None,
    **alerts: Any,
) -> Bundle:
    """A configuration with this roster and these channels; without them, messages go to the folder."""
    (folder / "roster.yaml").write_text(roster, "utf-8")
    (folder / "routes.yaml").write_text(routes, "utf-8")
    values: dict[str, Any] = {
        "config_dir": folder,
        "alerts": {"heartbeat_at": "23:59", "link_base": "https://desk.jinan.example", **alerts},
    }
    if slack:
        values["slack"] = {"token": "xoxb-demo-not-secret", "channel": "C0QUANSHENG", "base_url": slack}
    if mail_port:
        values["mail"] = {"host": "127.0.0.1", "port": mail_port, "sender": "quansheng@jinan.example"}
    return load_bundle(None, **values, **(more or {}))


def emerge(
    session: Session,
    new: Sequence[NewPost] = (),
    *,
    now: datetime,
    level: str = "general",
    track: str = "burst",
    title: str = "某小学食堂多人呕吐",
) -> int:
    """An incident of these posts, detected `now`; returns its id."""
    incident = judgements.open_watching(
        session,
        title=title,
        domain="food_safety",
        district="历下区",
        first_posted_at=now - timedelta(hours=1),
        sketch={},
    )
    for post_id in posts.save_posts(session, list(new)).ids if new else ():
        judgements.add_post(
            session,
            incident,
            post_id,
            similarity=0.9,
            voice=True,
            published_at=now - timedelta(minutes=30),
            negative=True,
            now=now,
        )
    why = {"sentence_zh": "近1小时2位发帖人，平常0.1位", "sentence_en": "2 authors in 1 h, 0.1 expected"}
    lifecycle.handle(
        session, incident, Detect(track, why, level), actor="analysis", channel="system", now=now
    )
    return incident


@dataclass
class Office:
    """One database, one configuration, one clock that only moves when told."""

    db: Database
    bundle: Bundle
    now: datetime = T0
    incident_id: int = 0
    sent: list[SendSummary] = field(default_factory=list)

    def later(self, **span: float) -> Office:
        """Let time pass."""
        self.now += timedelta(**span)
        return self

    def tick(self) -> TickSummary:
        """One tick at the present time."""
        return job.tick(self.db, self.bundle, KEYS, self.now)

    def send(self) -> SendSummary:
        """Send what is due."""
        return job.send(self.db, self.bundle, KEYS, lambda: self.now)

    def work(self) -> TickSummary:
        """Tick, send, and tick once more for what sending has caused."""
        summary = self.tick()
        self.sent.append(self.send())
        self.tick()
        return summary

    def detect(
        self,
        make: Callable[..., NewPost],
        *,
        level: str = "general",
        source: str = "forum",
        title: str = "某小学食堂多人呕吐",
    ) -> Office:
        """A cluster of two posts emerges."""
        new = [
            make("孩子吃完饭回来就吐，班里已经十几个了", source_id=source),
            make("食堂的肉有味道", source_id=source),
        ]
        with self.db.transaction() as session:
            self.incident_id = emerge(session, new, now=self.now, level=level, title=title)
        return self

    def do(self, command: Command, actor: str = "lin", channel: str = "console") -> Office:
        """A person acts."""
        with self.db.transaction() as session:
            lifecycle.handle(session, self.incident_id, command, actor=actor, channel=channel, now=self.now)
        return self

    @property
    def incident(self) -> IncidentView:
        """The incident as it is now."""
        with self.db.reading() as session:
            found = queries.get_incident(session, self.incident_id)
        assert found is not None
        return found

    def messages(self, kind: str = "", state: str = "") -> list[OutboxRow]:
        """Messages about the incident, oldest first."""
        with self.db.reading() as session:
            rows = outbox.messages_of(session, self.incident_id)
        return [row for row in rows if kind in ("", row.kind) and state in ("", row.state)]

    def paged(self, state: str = "") -> list[tuple[int, str]]:
        """Rung and mail address of each page by mail."""
        rows = self.messages("page", state)
        return sorted((row.step, row.recipient) for row in rows if row.channel in ("email", "folder"))

    def deadlines(self) -> dict[str, DeadlineView]:
        """Clocks by rule, of the latest round."""
        with self.db.reading() as session:
            return {clock.rule_id: clock for clock in clocks.deadlines_of(session, self.incident_id)}

    def history(self, *kinds: str) -> list[EventView]:
        """The incident's events of these kinds."""
        with self.db.reading() as session:
            events = queries.events_of(session, self.incident_id)
        return [event for event in events if not kinds or event.kind in kinds]

    def kinds(self) -> Sequence[str]:
        """What has happened, in order."""
        return [event.kind for event in self.history()]
