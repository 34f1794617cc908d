"""Tables of the incident database: what was posted, how it was judged, what was done about it.

`incident_event` is the truth; `incident`, `deadline`, `timer` and the counters are caches of a fold over it
and can be rebuilt. Times are stored as UTC; every datetime that leaves this module is aware.
No table is keyed by a person who posts: an author is an HMAC pseudonym whose key lies outside the database.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

JsonDict = dict[str, Any]
#: JSONB on PostgreSQL, text JSON on SQLite.
Json = JSON().with_variant(JSONB(), "postgresql")
#: SQLite only gives automatic row numbers to INTEGER primary keys.
BigId = BigInteger().with_variant(Integer, "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored as UTC; naive values are refused at the border."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: pass an aware datetime")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Common base of all tables."""

    type_annotation_map = {datetime: UtcDateTime, JsonDict: Json}  # noqa: RUF012 (SQLAlchemy's own protocol)


class Post(Base):
    """One public post after redaction. `id` grows with the time of saving, so newest-first is a row-id scan."""

    __tablename__ = "post"
    __table_args__ = (
        UniqueConstraint("source_id", "external_id", name="uq_post_source_external"),
        Index("ix_post_published", "published_at"),
        Index("ix_post_fetched", "fetched_at"),
        Index(
            "ix_post_unjudged",
            "id",
            postgresql_where=text("judged_at IS NULL"),
            sqlite_where=text("judged_at IS NULL"),
        ),
        Index("ix_post_url", "url"),
        Index("ix_post_content", "content_sha256"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    source_id: Mapped[str] = mapped_column(String(80))
    #: the source's own key of the post (guid, thread id, work-order number), else a hash of link and text
    external_id: Mapped[str] = mapped_column(String(200))
    url: Mapped[str] = mapped_column(Text, default="")
    title: Mapped[str] = mapped_column(Text, default="")
    text: Mapped[str] = mapped_column(Text)
    published_at: Mapped[datetime]
    #: True when the source gave no usable time and the fetch time stands in
    published_estimated: Mapped[bool] = mapped_column(Boolean, default=False)
    fetched_at: Mapped[datetime]
    judged_at: Mapped[datetime | None]
    #: HMAC pseudonym; None when the source names no author
    author_key: Mapped[str | None] = mapped_column(String(64))
    place_hint: Mapped[str] = mapped_column(Text, default="")
    #: likes, comments, reposts as last seen
    engagement: Mapped[JsonDict] = mapped_column(default=dict)
    content_sha256: Mapped[str] = mapped_column(String(64))
    #: digest of what was received: "sha256:..." of a server's answer, "hmac-sha256:..." of an imported row; "" before 0.2
    received: Mapped[str] = mapped_column(String(80), default="", server_default="")
    #: name of that answer in the evidence folder (incidents.vault); "" when none was kept
    original: Mapped[str] = mapped_column(String(60), default="", server_default="")
    #: which extractor, charset, redactions counted; nothing personal
    provenance: Mapped[JsonDict] = mapped_column(default=dict)
    unavailable_at: Mapped[datetime | None]


class PostRevision(Base):
    """An edit that was noticed: the words before it (`post` holds those after it). Goes with its post."""

    __tablename__ = "post_revision"
    __table_args__ = (Index("ix_post_revision_post", "post_id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    post_id: Mapped[int] = mapped_column(ForeignKey("post.id", ondelete="CASCADE"))
    noticed_at: Mapped[datetime]
    old_title: Mapped[str] = mapped_column(Text, default="")  # redacted, as it stood in `post`
    old_text: Mapped[str] = mapped_column(Text)
    old_sha256: Mapped[str] = mapped_column(String(64))
    new_sha256: Mapped[str] = mapped_column(String(64))
    #: when the old words were fetched, how the new ones were read, what had been judged of the old ones
    evidence: Mapped[JsonDict] = mapped_column(default=dict)


class PostCount(Base):
    """Likes, comments and reposts of a post at one time: the series behind `post.engagement`. Goes with its post."""

    __tablename__ = "post_count"

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id", ondelete="CASCADE"), primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    counts: Mapped[JsonDict] = mapped_column(default=dict)


class Revisit(Base):
    """A post that is looked at again: for its counts while it is young, and to see whether it is still there. Goes with it."""

    __tablename__ = "revisit"
    __table_args__ = (
        Index(
            "ix_revisit_due",
            "source_id",
            "due_at",
            postgresql_where=text("due_at IS NOT NULL"),
            sqlite_where=text("due_at IS NOT NULL"),
        ),
    )

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id", ondelete="CASCADE"), primary_key=True)
    source_id: Mapped[str] = mapped_column(String(80))
    due_at: Mapped[datetime | None]  # None: not looked at any more
    visits: Mapped[int] = mapped_column(Integer, default=0)
    visited_at: Mapped[datetime | None]
    there_at: Mapped[datetime | None]  # last seen in its place
    #: [{"at", "what", "status", "where"}] of visits in a row that did not find it, and of its coming back
    evidence: Mapped[list[JsonDict]] = mapped_column(Json, default=list)


class Backfill(Base):
    """One range of the past that is read from one source, page by page; `progress` says where it goes on."""

    __tablename__ = "backfill"
    __table_args__ = (UniqueConstraint("source_id", "start", "until", name="uq_backfill"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    source_id: Mapped[str] = mapped_column(String(80))
    start: Mapped[datetime]  # the first moment of the range
    until: Mapped[datetime]  # the first moment behind it
    state: Mapped[str] = mapped_column(String(12), default="running")  # running | done | stuck
    progress: Mapped[JsonDict] = mapped_column(default=dict)
    pages: Mapped[int] = mapped_column(Integer, default=0)  # list pages that were read to their end
    found: Mapped[int] = mapped_column(Integer, default=0)  # entries on them
    saved: Mapped[int] = mapped_column(Integer, default=0)  # posts that were not known
    oldest_at: Mapped[datetime | None]  # how far back it has come
    seconds: Mapped[float] = mapped_column(Float, default=0.0)  # spent on it
    evidence: Mapped[str] = mapped_column(Text, default="")
    started_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class HotTitle(Base):
    """A title of a hot list (热榜) that names the city: how known a matter is by now, never a post of a citizen.

    Titles lie apart from `post`, so that no count of posts, voices, sources or heat can take them in.
    What a person said of one stands in `hot_verdict`.
    """

    __tablename__ = "hot_title"
    __table_args__ = (
        UniqueConstraint("source_id", "external_id", name="uq_hot_title"),
        Index("ix_hot_title_first_seen", "first_seen_at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    source_id: Mapped[str] = mapped_column(String(80))
    external_id: Mapped[str] = mapped_column(String(200))
    list_name: Mapped[str] = mapped_column(String(120), default="")  # the list's or route's own name
    title: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text, default="")
    url: Mapped[str] = mapped_column(Text, default="")
    #: by our own readings: since when, until when, how high, how often
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    best_rank: Mapped[int] = mapped_column(Integer, default=0)  # 1 is the top; 0 unknown
    sightings: Mapped[int] = mapped_column(Integer, default=1)
    judged_at: Mapped[datetime | None]
    domain: Mapped[str] = mapped_column(String(24), default="")
    domain_score: Mapped[float] = mapped_column(Float, default=0.0)
    districts: Mapped[list[str]] = mapped_column(Json, default=list)
    places: Mapped[list[JsonDict]] = mapped_column(Json, default=list)
    model_version: Mapped[str] = mapped_column(String(80), default="")
    elsewhere: Mapped[bool] = mapped_column(
        Boolean, default=False
    )  # it names the city but happens in another
    #: the incident or cluster that the machine holds for the same matter; once found it stays
    incident_id: Mapped[int | None] = mapped_column(BigId)
    score: Mapped[float] = mapped_column(Float, default=0.0)
    matched_at: Mapped[datetime | None]
    #: nearest one below the machine's limit: a hint to the person who decides
    near_id: Mapped[int | None] = mapped_column(BigId)


class HotVerdict(Base):
    """What a person said of a hot title, the latest word; a fold of the events `hot_title`. It outlives the title."""

    __tablename__ = "hot_verdict"

    title_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    verdict: Mapped[str] = mapped_column(String(12))  # same | missed | not_ours
    incident_id: Mapped[int | None] = mapped_column(BigId)  # of `same`
    decided_by: Mapped[str] = mapped_column(String(80))
    decided_at: Mapped[datetime]


class Quarantine(Base):
    """An input row that could not be taken, kept with its reason until somebody retries or discards it."""

    __tablename__ = "quarantine"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    origin: Mapped[str] = mapped_column(Text)  # file name or source id
    row: Mapped[int | None] = mapped_column(Integer)  # 1-based row in the file, header included
    field: Mapped[str] = mapped_column(String(120), default="")
    reason: Mapped[str] = mapped_column(Text)
    payload: Mapped[JsonDict] = mapped_column(default=dict)  # redacted
    created_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]


class SourceState(Base):
    """What we know about one source: how it did last time and where to go on."""

    __tablename__ = "source_state"

    source_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    state: Mapped[str] = mapped_column(String(20), default="new")
    evidence: Mapped[str] = mapped_column(Text, default="")
    last_fetch_at: Mapped[datetime | None]
    last_ok_at: Mapped[datetime | None]
    last_new_post_at: Mapped[datetime | None]
    next_due_at: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(Integer, default=0)
    posts_total: Mapped[int] = mapped_column(Integer, default=0)
    #: validators (ETag, Last-Modified) and watermark by URL; committed with the posts they cover
    cursor: Mapped[JsonDict] = mapped_column(default=dict)


class IntakeReceipt(Base):
    """One file or one push that a source handed over: the same one again is known by it, also after a crash. No fold of events."""

    __tablename__ = "intake_receipt"
    __table_args__ = (
        UniqueConstraint("source_id", "digest", name="uq_intake_receipt"),
        Index(
            "ix_intake_receipt_open",
            "source_id",
            postgresql_where=text("filed_at IS NULL"),
            sqlite_where=text("filed_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    source_id: Mapped[str] = mapped_column(String(80))
    #: sha256 of the file, or of a push's timestamp and body
    digest: Mapped[str] = mapped_column(String(64))
    #: the file's name, redacted; "" for a push
    name: Mapped[str] = mapped_column(Text, default="")
    received_at: Mapped[datetime]
    rows: Mapped[int] = mapped_column(Integer, default=0)
    saved: Mapped[int] = mapped_column(Integer, default=0)
    known: Mapped[int] = mapped_column(Integer, default=0)
    aside: Mapped[int] = mapped_column(Integer, default=0)
    #: what is told of it; redacted
    report: Mapped[JsonDict] = mapped_column(default=dict)
    #: when the file was moved away, or the push was counted in its source's state; None: not yet
    filed_at: Mapped[datetime | None]


class Judgement(Base):
    """What the models said about one post, with score, threshold and model version."""

    __tablename__ = "judgement"
    __table_args__ = (Index("ix_judgement_domain", "domain"), Index("ix_judgement_near_copy", "near_copy_of"))

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id", ondelete="CASCADE"), primary_key=True)
    domain: Mapped[str] = mapped_column(String(24))
    domain_score: Mapped[float] = mapped_column(Float)
    tone: Mapped[str] = mapped_column(String(8))  # neg | neu | pos
    tone_score: Mapped[float] = mapped_column(Float)  # probability of "neg"
    snownlp_score: Mapped[float] = mapped_column(Float)  # SnowNLP's own value, 0 negative .. 1 positive
    signal: Mapped[bool] = mapped_column(Boolean)
    signal_score: Mapped[float] = mapped_column(Float)
    risk: Mapped[int] = mapped_column(Integer)  # 0..3
    risk_score: Mapped[float] = mapped_column(Float)
    abstain: Mapped[bool] = mapped_column(Boolean, default=False)
    districts: Mapped[list[str]] = mapped_column(Json, default=list)
    places: Mapped[list[JsonDict]] = mapped_column(Json, default=list)  # [{"kind","name","norm"}]
    reasons: Mapped[JsonDict] = mapped_column(default=dict)  # words that moved each score, fired risk rule
    #: whom the complaint is about: department | school | company | other; "" when the text does not say it
    about: Mapped[str] = mapped_column(String(16), default="", server_default="")
    near_copy_of: Mapped[int | None] = mapped_column(BigId)
    model_version: Mapped[str] = mapped_column(String(80))
    judged_at: Mapped[datetime]


class Incident(Base):
    """One concrete matter. Rows in state `watching` are clusters that have not emerged and have no event."""

    __tablename__ = "incident"
    __table_args__ = (
        Index("ix_incident_state", "state", "detected_at", "id"),
        Index("ix_incident_detected", "detected_at"),
        Index("ix_incident_last_post", "last_post_at"),
        Index(
            "ix_incident_parent",
            "parent_id",
            postgresql_where=text("parent_id IS NOT NULL"),
            sqlite_where=text("parent_id IS NOT NULL"),
        ),
        Index(
            "ix_incident_restricted",
            "id",
            postgresql_where=text("restricted"),
            sqlite_where=text("restricted = 1"),
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    #: "QS-2026-000017", given at detection; empty while watching
    number: Mapped[str | None] = mapped_column(String(24), unique=True)
    title: Mapped[str] = mapped_column(Text)
    domain: Mapped[str] = mapped_column(String(24), default="none")
    district: Mapped[str] = mapped_column(String(40), default="")
    state: Mapped[str] = mapped_column(String(16), default="watching")
    #: number of events folded into this row; commands carry it as expected_version
    version: Mapped[int] = mapped_column(Integer, default=0)
    epoch: Mapped[int] = mapped_column(Integer, default=0)
    round: Mapped[int] = mapped_column(Integer, default=0)
    #: 一般 general | 较大 serious | 重大 major | 特别重大 critical
    level: Mapped[str] = mapped_column(String(12), default="general")
    track: Mapped[str] = mapped_column(String(8), default="")  # fast | burst | manual
    why: Mapped[JsonDict] = mapped_column(default=dict)  # arithmetic of the detection
    department: Mapped[str] = mapped_column(String(60), default="")  # department id
    officer: Mapped[str] = mapped_column(String(60), default="")
    parent_id: Mapped[int | None] = mapped_column(BigId)
    #: 限定知悉: only the logins in `readers` see it in the console
    restricted: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    readers: Mapped[list[str]] = mapped_column(Json, default=list, server_default="[]")
    posts: Mapped[int] = mapped_column(Integer, default=0)
    voices: Mapped[int] = mapped_column(Integer, default=0)  # distinct authors, near-copies folded
    first_posted_at: Mapped[datetime]
    last_post_at: Mapped[datetime]
    detected_at: Mapped[datetime | None]
    alerted_at: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    confirmed_at: Mapped[datetime | None]
    assigned_at: Mapped[datetime | None]
    responded_at: Mapped[datetime | None]
    evaluated_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    #: clustering state (centroid terms, places); analysis owns the content
    sketch: Mapped[JsonDict] = mapped_column(default=dict)


class IncidentPost(Base):
    """Which post belongs to which incident."""

    __tablename__ = "incident_post"
    __table_args__ = (Index("ix_incident_post_incident", "incident_id"),)

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id", ondelete="CASCADE"), primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"))
    similarity: Mapped[float] = mapped_column(Float)
    added_at: Mapped[datetime]


class Evidence(Base):
    """One original that is kept for one post of an incident, or was: a fold of `evidence_kept` and `evidence_purged`.

    No foreign key: what is left of a post after retention is this row, with digests and no text.
    """

    __tablename__ = "evidence"
    __table_args__ = (Index("ix_evidence_incident", "incident_id"), Index("ix_evidence_name", "name"))

    post_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(60), primary_key=True)  # of the file in the evidence folder
    incident_id: Mapped[int] = mapped_column(BigId)  # the incident that the post belonged to then
    source_id: Mapped[str] = mapped_column(String(80))
    size: Mapped[int] = mapped_column(Integer)  # bytes of the encrypted file
    file_sha256: Mapped[str] = mapped_column(String(64))  # of the encrypted file
    payload_sha256: Mapped[str] = mapped_column(String(64))  # of what the server sent
    content_sha256: Mapped[str] = mapped_column(String(64))  # of the stored (redacted) text
    fetched_at: Mapped[datetime]
    how: Mapped[str] = mapped_column(String(12))  # at_fetch | later
    kept_at: Mapped[datetime]
    seq: Mapped[int] = mapped_column(BigId)  # event that keeps it
    purged_at: Mapped[datetime | None]
    purge_rule: Mapped[str] = mapped_column(String(40), default="")
    purge_seq: Mapped[int | None] = mapped_column(BigId)


class EvidenceWant(Base):
    """A post of an incident whose original is not there: to be fetched again, or given up with a reason. No fold of events."""

    __tablename__ = "evidence_want"
    __table_args__ = (
        Index(
            "ix_evidence_want_source",
            "source_id",
            postgresql_where=text("given_up_at IS NULL"),
            sqlite_where=text("given_up_at IS NULL"),
        ),
    )

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id", ondelete="CASCADE"), primary_key=True)
    source_id: Mapped[str] = mapped_column(String(80))
    since: Mapped[datetime]
    tries: Mapped[int] = mapped_column(Integer, default=0)
    reason: Mapped[str] = mapped_column(Text, default="")
    next_at: Mapped[datetime]  # not asked for before
    #: name of the answer that came when it was fetched again
    name: Mapped[str] = mapped_column(String(60), default="")
    fetched_at: Mapped[datetime | None]
    given_up_at: Mapped[datetime | None]


class EvidenceDue(Base):
    """A post of a raised incident whose original the evidence job has still to look at (incidents.evidence_due). No fold of events."""

    __tablename__ = "evidence_due"

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id", ondelete="CASCADE"), primary_key=True)


class IncidentHour(Base):
    """Posts and voices of one incident in one hour (UTC, truncated): the growth chart."""

    __tablename__ = "incident_hour"

    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    posts: Mapped[int] = mapped_column(Integer, default=0)
    voices: Mapped[int] = mapped_column(Integer, default=0)
    negative: Mapped[int] = mapped_column(Integer, default=0)


class IncidentEvent(Base):
    """The append-only, hash-chained record of everything that happened. Triggers refuse UPDATE and DELETE.

    `incident_id` is NULL for acts that concern no incident (log-in, refused command, export, heartbeat).
    `hash` = HMAC-SHA256(audit key, previous hash + canonical JSON of the row).
    """

    __tablename__ = "incident_event"
    __table_args__ = (
        UniqueConstraint("incident_id", "version", name="uq_event_incident_version"),
        Index("ix_event_incident", "incident_id", "seq"),
        Index("ix_event_kind", "kind", "recorded_at"),
    )

    seq: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)  # 1, 2, 3 ... without gaps
    incident_id: Mapped[int | None] = mapped_column(BigId)
    version: Mapped[int | None] = mapped_column(Integer)  # 1-based position in the incident's own history
    kind: Mapped[str] = mapped_column(String(40))
    epoch: Mapped[int] = mapped_column(Integer, default=0)
    round: Mapped[int] = mapped_column(Integer, default=0)
    actor: Mapped[str] = mapped_column(String(80))
    channel: Mapped[str] = mapped_column(String(20))  # system | console | slack | link | cli | api
    occurred_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    #: plain JSON, not JSONB: what was signed must come back digit by digit
    payload: Mapped[JsonDict] = mapped_column(JSON(), default=dict)
    idempotency_key: Mapped[str | None] = mapped_column(String(120), unique=True)
    prev_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class Deadline(Base):
    """One running or finished clock of one incident."""

    __tablename__ = "deadline"
    __table_args__ = (
        UniqueConstraint("incident_id", "rule_id", "round", name="uq_deadline"),
        Index(
            "ix_deadline_open",
            "due_at",
            postgresql_where=text("state = 'open'"),
            sqlite_where=text("state = 'open'"),
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"))
    rule_id: Mapped[str] = mapped_column(String(20))
    round: Mapped[int] = mapped_column(Integer, default=1)
    #: which event stops it: responded | published | acknowledged ...
    stops_on: Mapped[str] = mapped_column(String(24))
    started_at: Mapped[datetime]
    due_at: Mapped[datetime]
    provisional: Mapped[bool] = mapped_column(Boolean, default=False)
    calendar_version: Mapped[str] = mapped_column(String(60), default="")
    trace: Mapped[list[str]] = mapped_column(Json, default=list)
    state: Mapped[str] = mapped_column(String(12), default="open")  # open | met | missed | cancelled
    closed_at: Mapped[datetime | None]
    #: when our tick noticed that it had passed (the true time is due_at)
    overdue_noticed_at: Mapped[datetime | None]
    #: the end before any extension; empty when none was granted
    original_due_at: Mapped[datetime | None]
    #: units of the rule added by a named approver, once
    extended_by: Mapped[int] = mapped_column(Integer, default=0, server_default="0")


class Timer(Base):
    """A thing to do at a time: next rung of the ladder, reminder. One row each, done once."""

    __tablename__ = "timer"
    __table_args__ = (
        UniqueConstraint("incident_id", "kind", "epoch", "step", name="uq_timer"),
        Index(
            "ix_timer_open",
            "due_at",
            postgresql_where=text("done_at IS NULL"),
            sqlite_where=text("done_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"))
    kind: Mapped[str] = mapped_column(String(24))  # ladder | remind | yellow | red ...
    epoch: Mapped[int] = mapped_column(Integer)
    step: Mapped[int] = mapped_column(Integer)
    due_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    result: Mapped[str] = mapped_column(String(24), default="")  # fired | superseded
    payload: Mapped[JsonDict] = mapped_column(default=dict)


class Ladder(Base):
    """The frozen rungs of one epoch's ladder: an edit of routes.yaml changes the next ladder, never a running one."""

    __tablename__ = "ladder"

    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer, primary_key=True)
    route: Mapped[str] = mapped_column(String(120))
    steps: Mapped[list[JsonDict]] = mapped_column(Json, default=list)
    started_at: Mapped[datetime]
    #: the time by which somebody must have taken charge; no acknowledgement, return or new epoch moves it
    outer_due_at: Mapped[datetime | None]
    stopped_at: Mapped[datetime | None]


class Accountability(Base):
    """A step of the accountability ladder (L3 to L7) that the software proposes and a named person decides."""

    __tablename__ = "accountability"
    __table_args__ = (
        UniqueConstraint("incident_id", "key", name="uq_accountability"),
        Index("ix_accountability_state", "state"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"))
    #: what it is about, so that one cause is proposed once: "L3:R03:1"
    key: Mapped[str] = mapped_column(String(60))
    level: Mapped[str] = mapped_column(String(4))  # L3 .. L7
    department: Mapped[str] = mapped_column(String(60))
    #: poor_handling 处置不力 | improper_reply 回应不妥当 | late_report 报告不及时, "" below L6
    ground: Mapped[str] = mapped_column(String(24), default="")
    evidence: Mapped[JsonDict] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(String(12), default="open")  # open|approved|declined|withdrawn
    made_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str] = mapped_column(String(80), default="")
    decision_reason: Mapped[str] = mapped_column(Text, default="")


class ReplyReading(Base):
    """What one official answer says, as the machine read it: a fold of the events `reply_read`. No text stands here.

    `details` holds where in the answer (and in the case's posts) each finding stands, as offsets.
    """

    __tablename__ = "reply_reading"

    incident_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(60), primary_key=True)  # event:SEQ | post:ID
    seq: Mapped[int | None] = mapped_column(BigId)  # event `responded` that holds the answer
    post_id: Mapped[int | None] = mapped_column(BigId)  # post below which a platform shows it
    department: Mapped[str] = mapped_column(String(60))  # department id, or the name that the platform gives
    published_at: Mapped[datetime]
    read_at: Mapped[datetime]
    model: Mapped[str] = mapped_column(String(40))
    mark: Mapped[str] = mapped_column(String(64))  # digest of the text that was read
    relevance: Mapped[float | None] = mapped_column(Float)
    coverage: Mapped[float | None] = mapped_column(Float)
    elements: Mapped[JsonDict] = mapped_column(default=dict)
    citations: Mapped[int] = mapped_column(Integer, default=0)
    figures: Mapped[int] = mapped_column(Integer, default=0)
    buck_passing: Mapped[bool] = mapped_column(Boolean, default=False)
    template_of: Mapped[int] = mapped_column(Integer, default=0)
    blame: Mapped[bool] = mapped_column(Boolean, default=False)
    courtesy: Mapped[bool] = mapped_column(Boolean, default=False)
    details: Mapped[JsonDict] = mapped_column(default=dict)


class Promise(Base):
    """What an official answer promised by when, and what became of it: a fold of `reply_read` and `promise_*` events."""

    __tablename__ = "promise"

    incident_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(60), primary_key=True)
    answer: Mapped[str] = mapped_column(
        String(60), default=""
    )  # key of the reading; "" when a person entered it
    department: Mapped[str] = mapped_column(String(60))
    text: Mapped[str] = mapped_column(Text)  # the words of the answer, cut
    made_at: Mapped[datetime]  # when the answer was published
    due_at: Mapped[datetime | None]  # None only while proposed in working days, which the calendar counts
    workdays: Mapped[int | None] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(12))  # proposed | open | kept | broken | dismissed
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str] = mapped_column(String(80), default="")
    link: Mapped[str] = mapped_column(Text, default="")
    note: Mapped[str] = mapped_column(Text, default="")
    overdue_noticed_at: Mapped[datetime | None]


class Appeal(Base):
    """An appeal of a unit against a missed clock, an approved step or its line of a period: a fold of `appeal_*` events."""

    __tablename__ = "appeal"
    __table_args__ = (Index("ix_appeal_unit", "unit", "state"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    unit: Mapped[str] = mapped_column(String(60))
    about: Mapped[str] = mapped_column(String(80))  # clock:R03:1 | measure:L3:R03:1 | row:2026-11
    incident_id: Mapped[int | None] = mapped_column(BigId)
    filed_by: Mapped[str] = mapped_column(String(80))
    filed_at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(Text)
    evidence: Mapped[str] = mapped_column(Text)
    decide_due_at: Mapped[datetime]
    provisional: Mapped[bool] = mapped_column(Boolean, default=False)
    trace: Mapped[list[str]] = mapped_column(Json, default=list)
    state: Mapped[str] = mapped_column(String(12), default="filed")  # filed | upheld | changed | dismissed
    decided_by: Mapped[str] = mapped_column(String(80), default="")
    decided_at: Mapped[datetime | None]
    decision_reason: Mapped[str] = mapped_column(Text, default="")
    changed_to: Mapped[str] = mapped_column(String(60), default="")  # link that is charged instead


class Letter(Base):
    """A letter of supervision 督办文书, from its draft to its answer: a fold of `letter_*` events."""

    __tablename__ = "letter"
    __table_args__ = (Index("ix_letter_department", "department", "state"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"))
    kind: Mapped[str] = mapped_column(String(12))  # order | talk | circular | referral | praise
    department: Mapped[str] = mapped_column(String(60))
    proposal_key: Mapped[str] = mapped_column(String(60), default="")  # of its accountability step
    level: Mapped[str] = mapped_column(String(4), default="")
    body: Mapped[list[str]] = mapped_column(Json, default=list)  # paragraphs, every sentence cites 【code】
    evidence: Mapped[JsonDict] = mapped_column(default=dict)  # code -> what it stands for
    version: Mapped[int] = mapped_column(Integer, default=1)
    state: Mapped[str] = mapped_column(String(12), default="draft")  # draft | approved | rejected
    made_by: Mapped[str] = mapped_column(String(80))
    made_at: Mapped[datetime]
    edited_by: Mapped[str] = mapped_column(String(80), default="")
    decided_by: Mapped[str] = mapped_column(String(80), default="")
    decided_at: Mapped[datetime | None]
    decision_reason: Mapped[str] = mapped_column(Text, default="")
    reply_due_at: Mapped[datetime | None]
    provisional: Mapped[bool] = mapped_column(Boolean, default=False)
    trace: Mapped[list[str]] = mapped_column(Json, default=list)
    received_at: Mapped[datetime | None]
    received_by: Mapped[str] = mapped_column(String(80), default="")
    answered_at: Mapped[datetime | None]
    answered_by: Mapped[str] = mapped_column(String(80), default="")
    answer: Mapped[str] = mapped_column(Text, default="")
    answer_url: Mapped[str] = mapped_column(Text, default="")
    overdue_noticed_at: Mapped[datetime | None]


class DutyObligation(Base):
    """One due date of a recurring or triggered duty of the notice: unit, rule and period."""

    __tablename__ = "obligation"
    __table_args__ = (
        UniqueConstraint("rule_id", "unit", "period", name="uq_obligation"),
        Index("ix_obligation_due", "state", "due_at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    rule_id: Mapped[str] = mapped_column(String(20))
    unit: Mapped[str] = mapped_column(String(60))  # department id
    period: Mapped[str] = mapped_column(String(60))  # 2026-11 | 2026-Q4 | 2026 | 2026#2 | name of the trigger
    trigger: Mapped[str] = mapped_column(Text, default="")
    started_at: Mapped[datetime]
    due_at: Mapped[datetime]
    provisional: Mapped[bool] = mapped_column(Boolean, default=False)
    calendar_version: Mapped[str] = mapped_column(String(60), default="")
    trace: Mapped[list[str]] = mapped_column(Json, default=list)
    state: Mapped[str] = mapped_column(String(12), default="open")  # open | met | late | cancelled
    met_at: Mapped[datetime | None]
    evidence: Mapped[str] = mapped_column(Text, default="")
    entered_by: Mapped[str] = mapped_column(String(80), default="")
    overdue_noticed_at: Mapped[datetime | None]


class RosterChange(Base):
    """A change of the roster made in the console: stand-in, swap or leave. Rows are closed, never deleted."""

    __tablename__ = "roster_change"
    __table_args__ = (Index("ix_roster_change_time", "until", "start"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(12))  # override | swap | leave
    role: Mapped[str] = mapped_column(String(12), default="")  # "" for leave: every role
    person: Mapped[str] = mapped_column(String(60))  # who is replaced or away
    stand_in: Mapped[str] = mapped_column(String(60), default="")
    start: Mapped[datetime]
    until: Mapped[datetime]
    reason: Mapped[str] = mapped_column(Text, default="")
    state: Mapped[str] = mapped_column(String(12), default="asked")  # asked | taken | declined | withdrawn
    made_by: Mapped[str] = mapped_column(String(80))
    made_at: Mapped[datetime]
    decided_by: Mapped[str] = mapped_column(String(80), default="")
    decided_at: Mapped[datetime | None]


class CalendarFeed(Base):
    """The secret address of a calendar of shifts. Rows are revoked, never deleted; the address itself stands nowhere."""

    __tablename__ = "calendar_feed"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    person: Mapped[str] = mapped_column(String(60))  # id in roster.yaml; "" for the shifts of everybody
    made_by: Mapped[str] = mapped_column(String(80))
    made_at: Mapped[datetime]
    revoked_by: Mapped[str] = mapped_column(String(80), default="")
    revoked_at: Mapped[datetime | None]


class Handover(Base):
    """A hand-over 交接班 at the end of a shift: offered by the system, given and taken by both sides."""

    __tablename__ = "handover"
    __table_args__ = (UniqueConstraint("role", "shift_end", name="uq_handover"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    role: Mapped[str] = mapped_column(String(12))
    shift_end: Mapped[datetime]
    outgoing: Mapped[str] = mapped_column(String(60))
    incoming: Mapped[str] = mapped_column(String(60))
    offered_at: Mapped[datetime]
    given_at: Mapped[datetime | None]
    given_note: Mapped[str] = mapped_column(Text, default="")
    taken_at: Mapped[datetime | None]
    taken_note: Mapped[str] = mapped_column(Text, default="")
    open_incidents: Mapped[list[str]] = mapped_column(Json, default=list)


class AuditHead(Base):
    """The head of the event chain at the end of one day, and where it was told (mail, report, file)."""

    __tablename__ = "audit_head"

    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    seq: Mapped[int] = mapped_column(BigId)
    hash: Mapped[str] = mapped_column(String(64))
    noted_at: Mapped[datetime]
    anchors: Mapped[list[JsonDict]] = mapped_column(Json, default=list)


class Outbox(Base):
    """One message to one recipient through one channel. id = uuid5(incident, epoch, step, recipient, channel)."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index(
            "ix_outbox_todo",
            "not_before",
            postgresql_where=text("state IN ('pending','sending')"),
            sqlite_where=text("state IN ('pending','sending')"),
        ),
        Index("ix_outbox_incident", "incident_id"),
        Index("ix_outbox_robot", "robot", "sent_at"),
        Index("ix_outbox_person", "person", "created_at"),
        Index(
            "ix_outbox_bundled",
            "bundled_in",
            postgresql_where=text("bundled_in IS NOT NULL"),
            sqlite_where=text("bundled_in IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    incident_id: Mapped[int | None] = mapped_column(BigId)
    kind: Mapped[str] = mapped_column(String(24))  # page | update | reminder | report | heartbeat
    epoch: Mapped[int] = mapped_column(Integer, default=0)
    step: Mapped[int] = mapped_column(Integer, default=0)
    recipient: Mapped[str] = mapped_column(String(120))
    channel: Mapped[str] = mapped_column(String(20))  # slack | email | folder | webhook
    priority: Mapped[int] = mapped_column(Integer, default=5)  # 0 first page .. 9 report
    message: Mapped[JsonDict] = mapped_column(default=dict)  # subject, text, html, blocks, attachments' paths
    state: Mapped[str] = mapped_column(
        String(12), default="pending"
    )  # pending|sending|sent|refused|superseded
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[datetime]
    not_before: Mapped[datetime]
    lease_until: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    provider_ref: Mapped[str] = mapped_column(String(200), default="")
    error: Mapped[str] = mapped_column(Text, default="")
    #: whose limit of messages a minute it uses up: channel and robot, channel or server
    robot: Mapped[str] = mapped_column(String(120), default="", server_default="")
    #: officer of the roster for whom it is, "" for a group
    person: Mapped[str] = mapped_column(String(60), default="", server_default="")
    #: the message that says this one too (a storm in one message, the digest after an outage)
    bundled_in: Mapped[str | None] = mapped_column(String(36))


class OutboxAttempt(Base):
    """One try to send one outbox row, and what the channel said."""

    __tablename__ = "outbox_attempt"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    outbox_id: Mapped[str] = mapped_column(ForeignKey("outbox.id"), index=True)
    attempt: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    result: Mapped[str] = mapped_column(String(12), default="")  # sent | retry | refused | unknown
    detail: Mapped[str] = mapped_column(Text, default="")


class ReportRun(Base):
    """One report for one period: what was computed, when, and its revision."""

    __tablename__ = "report_run"
    __table_args__ = (UniqueConstraint("report", "period", "revision", name="uq_report_run"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    report: Mapped[str] = mapped_column(String(24))  # weekly
    period: Mapped[str] = mapped_column(String(16))  # 2026-W47
    revision: Mapped[int] = mapped_column(Integer, default=1)
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    digest: Mapped[str] = mapped_column(String(64))
    model: Mapped[JsonDict] = mapped_column(default=dict)


class IncidentRating(Base):
    """What one named reviewer said of the handling of one round of an incident; a fold of the events `rated`. The latest word counts."""

    __tablename__ = "incident_rating"

    incident_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    round: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    reviewer: Mapped[str] = mapped_column(String(80), primary_key=True)  # login of an account
    name: Mapped[str] = mapped_column(String(80))
    scores: Mapped[JsonDict] = mapped_column(default=dict)  # the six items of incidents.ratings
    improper: Mapped[bool] = mapped_column(Boolean, default=False)
    points: Mapped[list[str]] = mapped_column(Json, default=list)  # of the rubric of 回应不妥当
    note: Mapped[str] = mapped_column(Text, default="")
    rated_at: Mapped[datetime]
    seq: Mapped[int] = mapped_column(BigId)  # event that says so


class CallBack(Base):
    """Call-backs 回访 to people who had called, as numbers without any identity; a fold of `called_back` and `call_back_withdrawn`."""

    __tablename__ = "call_back"
    __table_args__ = (Index("ix_call_back_made", "made_at"),)

    incident_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(80), primary_key=True)
    round: Mapped[int] = mapped_column(Integer)
    solved: Mapped[int] = mapped_column(Integer, default=0)
    unsolved: Mapped[int] = mapped_column(Integer, default=0)
    unknown: Mapped[int] = mapped_column(Integer, default=0)
    satisfied: Mapped[int] = mapped_column(Integer, default=0)
    basically: Mapped[int] = mapped_column(Integer, default=0)
    dissatisfied: Mapped[int] = mapped_column(Integer, default=0)
    note: Mapped[str] = mapped_column(Text, default="")  # redacted
    made_at: Mapped[datetime]  # when the calls were made
    entered_by: Mapped[str] = mapped_column(String(80))
    withdrawn_at: Mapped[datetime | None]
    #: id of the source whose export brought it; "": a person entered it
    source: Mapped[str] = mapped_column(String(80), default="", server_default="")
    seq: Mapped[int] = mapped_column(BigId)


class ImportedCall(Base):
    """What an export says of the caller of one work order: two words and a time. No fold of events: the entries made of it are.

    No foreign key: what was counted outlives its post as a number.
    """

    __tablename__ = "imported_call"
    __table_args__ = (Index("ix_imported_call_entry", "incident_id", "entry"),)

    post_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    solved: Mapped[str] = mapped_column(String(12))  # solved, unsolved, unknown or ""
    satisfied: Mapped[str] = mapped_column(String(16))  # satisfied, basically, dissatisfied or ""
    called_at: Mapped[datetime]  # when it was first imported, if the export tells no time
    timed: Mapped[bool] = mapped_column(Boolean)
    noticed_at: Mapped[datetime]
    #: the entry below holds it as it stands
    counted: Mapped[bool] = mapped_column(Boolean)
    incident_id: Mapped[int | None] = mapped_column(BigId)  # where it was counted
    holder_id: Mapped[int | None] = mapped_column(
        BigId
    )  # which incident held the post then: that one or a merged one
    round: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    source_id: Mapped[str] = mapped_column(String(80), default="", server_default="")
    entry: Mapped[str] = mapped_column(String(80), default="", server_default="")


class EvaluationRun(Base):
    """One revision of one evaluation: of an incident (`subject` is its number) or of a period (2026-W47, 2026-11). No fold of events."""

    __tablename__ = "evaluation_run"
    __table_args__ = (
        UniqueConstraint("scope", "subject", "revision", name="uq_evaluation_run"),
        Index("ix_evaluation_run_incident", "incident_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    scope: Mapped[str] = mapped_column(String(12))  # incident | period
    subject: Mapped[str] = mapped_column(String(24))
    incident_id: Mapped[int | None] = mapped_column(BigId)
    revision: Mapped[int] = mapped_column(Integer)
    #: first | update (time or people moved on) | correction (late data changed what had been final)
    kind: Mapped[str] = mapped_column(String(12))
    created_at: Mapped[datetime]
    digest: Mapped[str] = mapped_column(String(64))
    model: Mapped[JsonDict] = mapped_column(default=dict)
    #: of the newest revision: version of the incident that was looked at, and when time alone may change the figures
    version: Mapped[int] = mapped_column(Integer, default=0)
    next_at: Mapped[datetime | None]


class Heartbeat(Base):
    """When each moving part was last well, and how far a reader of events has come."""

    __tablename__ = "heartbeat"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    ok_at: Mapped[datetime]
    value: Mapped[JsonDict] = mapped_column(default=dict)


class Account(Base):
    """A person who works with the console (never a person who posts)."""

    __tablename__ = "account"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    login: Mapped[str] = mapped_column(String(60), unique=True)
    display_name: Mapped[str] = mapped_column(String(80))
    role: Mapped[str] = mapped_column(String(20))
    department: Mapped[str] = mapped_column(String(60), default="")
    password_hash: Mapped[str] = mapped_column(Text)
    must_change: Mapped[bool] = mapped_column(Boolean, default=False)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    locked_until: Mapped[datetime | None]
    disabled: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime]
    #: when the password was last set; empty: before this was noted, counted from `created_at`
    password_set_at: Mapped[datetime | None]
    #: which sign-in service answers for the person: local | oidc | cas | ldap | header
    origin: Mapped[str] = mapped_column(String(12), default="local", server_default="local")
    #: the person's name at that service; empty for local accounts
    subject: Mapped[str] = mapped_column(String(200), default="", server_default="")
    #: the shared secret of the one-time codes, sealed with a key outside the database; empty: none
    totp_sealed: Mapped[str] = mapped_column(Text, default="", server_default="")
    #: the person has typed one code, so the secret is in force
    totp_on: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    #: the time step of the last code that was used: none is taken twice
    totp_step: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")


class UsedPassword(Base):
    """Hash of a password that an account had, so that it is not taken again too soon."""

    __tablename__ = "used_password"
    __table_args__ = (Index("ix_used_password", "account_id", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    password_hash: Mapped[str] = mapped_column(Text)
    set_at: Mapped[datetime]


class RecoveryCode(Base):
    """One code on paper that stands for a lost one-time-code device, once. Only its hash is stored."""

    __tablename__ = "recovery_code"

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    code_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)


class Unmask(Base):
    """Somebody asks to see what is masked for the own role; another person decides; it ends by itself."""

    __tablename__ = "unmask"
    __table_args__ = (
        Index("ix_unmask_incident", "incident_id", "asked_by"),
        Index("ix_unmask_state", "state"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"))
    asked_by: Mapped[str] = mapped_column(String(60))
    asked_at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(12), default="asked")  # asked | granted | refused
    decided_by: Mapped[str] = mapped_column(String(60), default="")
    decided_at: Mapped[datetime | None]
    decision_reason: Mapped[str] = mapped_column(Text, default="")
    until: Mapped[datetime | None]


class LoginSession(Base):
    """A console session. Only the hash of the cookie's value is stored."""

    __tablename__ = "login_session"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    csrf: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    #: by which the person ends it from another device; says nothing of the cookie
    handle: Mapped[str] = mapped_column(String(24), default="", server_default="")
    #: which browser and from where, as the person's own list of sessions shows it
    device: Mapped[str] = mapped_column(String(160), default="", server_default="")
    origin: Mapped[str] = mapped_column(String(12), default="local", server_default="local")
    #: what is still missing before it counts as signed in: "" nothing | code | enrol
    pending: Mapped[str] = mapped_column(String(8), default="", server_default="")


class ApiToken(Base):
    """A key with which scripts read through the HTTP API in a person's name. Only its hash is stored."""

    __tablename__ = "api_token"
    __table_args__ = (
        UniqueConstraint("token_sha256", name="uq_api_token"),
        Index("ix_api_token_account", "account_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(80))  # what it is for, in its owner's words
    hint: Mapped[str] = mapped_column(String(12))  # its first characters, by which its owner knows it
    token_sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(Json, default=list)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str] = mapped_column(String(80), default="")


class Meta(Base):
    """Single facts about the database: engine version, salt of pseudonyms' key id."""

    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class CrawlStop(Base):
    """The latest halt or objection of one target; a fold of its events (incidents.stops)."""

    __tablename__ = "crawl_stop"
    __table_args__ = (
        UniqueConstraint("kind", "scope", "target", name="uq_crawl_stop"),
        Index("ix_crawl_stop_lifted", "lifted_at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(12))  # halt | objection
    scope: Mapped[str] = mapped_column(String(8))  # all | host | source | prefix | page | author
    target: Mapped[str] = mapped_column(
        String(600)
    )  # page: hash of the address; author: pseudonym; all: empty
    reason: Mapped[str] = mapped_column(Text, default="")
    actor: Mapped[str] = mapped_column(String(80))
    channel: Mapped[str] = mapped_column(String(20))
    made_at: Mapped[datetime]
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str] = mapped_column(String(80), default="")
    lifted_reason: Mapped[str] = mapped_column(Text, default="")


class Backtest(Base):
    """A change of settings or rules that somebody wants tried on the past, and what came out. No fold of events."""

    __tablename__ = "backtest"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    change: Mapped[JsonDict] = mapped_column(default=dict)
    since: Mapped[datetime]
    until: Mapped[datetime]  # the first moment behind the period
    note: Mapped[str] = mapped_column(Text, default="")
    asked_by: Mapped[str] = mapped_column(String(80))
    asked_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(12), default="waiting")  # waiting | running | done | failed
    progress: Mapped[float] = mapped_column(Float, default=0.0)
    finished_at: Mapped[datetime | None]
    seconds: Mapped[float] = mapped_column(Float, default=0.0)  # that it took
    result: Mapped[JsonDict] = mapped_column(default=dict)
    trouble: Mapped[str] = mapped_column(Text, default="")


class Label(Base):
    """What a person said about a post or an incident. Append-only; the latest of one (post, kind) counts.

    Labels of a post go with it (retention, objection); those of an incident carry numbers and stay.
    Triggers refuse UPDATE. What each kind means by `value` and `was` stands in incidents/labels.py.
    """

    __tablename__ = "label"
    __table_args__ = (
        Index("ix_label_post", "post_id", "kind"),
        Index("ix_label_incident", "incident_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    post_id: Mapped[int | None] = mapped_column(ForeignKey("post.id", ondelete="CASCADE"))
    #: no foreign key: a cluster that never emerged may be purged, what people said of it stays
    incident_id: Mapped[int | None] = mapped_column(BigId)
    kind: Mapped[str] = mapped_column(String(16))
    value: Mapped[str] = mapped_column(String(40), default="")
    was: Mapped[str] = mapped_column(String(40), default="")  # what stood there before
    model_version: Mapped[str] = mapped_column(String(80), default="")
    actor: Mapped[str] = mapped_column(String(80))  # login of the officer or analyst
    reason: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]


class Proposal(Base):
    """Two incidents that may be one, or one that may be two: a question to a person, never an act."""

    __tablename__ = "proposal"
    __table_args__ = (
        UniqueConstraint("kind", "incident_id", "other_id", name="uq_proposal"),
        # NULL is never equal to NULL: of splits at most one per incident is open at a time
        Index(
            "uq_proposal_split",
            "incident_id",
            unique=True,
            postgresql_where=text("kind = 'split' AND state = 'open'"),
            sqlite_where=text("kind = 'split' AND state = 'open'"),
        ),
        Index("ix_proposal_state", "state"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(8))  # merge | split
    incident_id: Mapped[int] = mapped_column(BigId)
    other_id: Mapped[int | None] = mapped_column(BigId)  # merge: the one it would be merged with
    posts: Mapped[list[int]] = mapped_column(Json, default=list)  # split: posts that would leave
    score: Mapped[float] = mapped_column(Float)
    reasons: Mapped[JsonDict] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(String(12), default="open")  # open | accepted | refused | stale
    made_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str] = mapped_column(String(80), default="")
    decision_reason: Mapped[str] = mapped_column(Text, default="")


class TopicWeek(Base):
    """One topic of one domain in one week: its words, its size and the week before."""

    __tablename__ = "topic_week"
    __table_args__ = (UniqueConstraint("week", "domain", "key", name="uq_topic_week"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    week: Mapped[str] = mapped_column(String(10))  # ISO: 2026-W47
    domain: Mapped[str] = mapped_column(String(24))
    key: Mapped[str] = mapped_column(String(40))  # the same topic in other weeks has the same key
    title: Mapped[str] = mapped_column(String(120))
    words: Mapped[list[str]] = mapped_column(Json, default=list)  # strongest first
    posts: Mapped[int] = mapped_column(Integer, default=0)
    voices: Mapped[int] = mapped_column(Integer, default=0)
    before: Mapped[int] = mapped_column(Integer, default=0)  # posts in the week before
    examples: Mapped[list[int]] = mapped_column(Json, default=list)  # post ids
    model: Mapped[str] = mapped_column(String(80), default="")


class PostSearch(Base):
    """Search index on PostgreSQL: text made comparable, and its characters and bigrams under a GIN index.

    SQLite has the FTS5 table `post_fts` instead and never creates this one.
    """

    __tablename__ = "post_search"
    __table_args__ = (Index("ix_post_search_grams", "grams", postgresql_using="gin"),)

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id", ondelete="CASCADE"), primary_key=True)
    body: Mapped[str] = mapped_column(Text)  # comparable(title) + newline + comparable(text)
    grams: Mapped[list[str]] = mapped_column(JSON().with_variant(ARRAY(Text), "postgresql"))


class FacetCombo(Base):
    """One combination of source and judgement that posts have; so few that a count folds them in Python."""

    __tablename__ = "facet_combo"
    __table_args__ = (
        UniqueConstraint("source_id", "domain", "tone", "risk", "districts", name="uq_facet_combo"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    source_id: Mapped[str] = mapped_column(String(80))
    domain: Mapped[str] = mapped_column(String(24))  # "" while unjudged, as the tone
    tone: Mapped[str] = mapped_column(String(8))
    risk: Mapped[int] = mapped_column(Integer)
    districts: Mapped[list[str]] = mapped_column(Json)


class PostFacet(Base):
    """What searches filter and count by, in three numbers a post: a count reads no text. Kept by triggers (0014)."""

    __tablename__ = "post_facet"
    __table_args__ = (Index("ix_post_facet_combo", "combo", "post_id"),)

    post_id: Mapped[int] = mapped_column(
        ForeignKey("post.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    at: Mapped[int] = mapped_column(BigId)  # second of publication since 1970, UTC
    combo: Mapped[int] = mapped_column(BigId)  # facet_combo.id


class SavedSearch(Base):
    """A search that somebody keeps, with an alert of its own if they like. The address of its page is made of `asked`."""

    __tablename__ = "saved_search"
    __table_args__ = (UniqueConstraint("owner", "name", name="uq_saved_search"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    owner: Mapped[str] = mapped_column(String(60))  # login
    name: Mapped[str] = mapped_column(String(80))
    asked: Mapped[JsonDict] = mapped_column(default=dict)  # fields of the search's address
    shared: Mapped[bool] = mapped_column(Boolean, default=False)
    threshold: Mapped[int] = mapped_column(Integer, default=0)  # hits in the window that alert; 0: no alert
    window_h: Mapped[int] = mapped_column(Integer, default=24)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    checked_at: Mapped[datetime | None]
    found: Mapped[int] = mapped_column(Integer, default=0)  # hits in the window at the last check
    told_at: Mapped[datetime | None]  # when the owner was last told
    trouble: Mapped[str] = mapped_column(Text, default="")  # why it could not be checked or told
