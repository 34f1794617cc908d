"""What a person has stopped: halts (the kill switch of collecting) and objections (of a site, a page, an author).

A halt ends all fetching of its target at once, also in a crawl under way, until a person lifts it; nothing that is stored is
touched. An objection does the same, removes what is stored (incidents.retention) and keeps it from coming back.
Each act is one event of the record; the table holds the latest act for each target and is a fold of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urldefrag, urlsplit, urlunsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from config.sources import Source
from incidents import events
from incidents.models import CrawlStop, IncidentEvent
from incidents.states import Refused

Kind = Literal["halt", "objection"]
Scope = Literal["all", "host", "source", "prefix", "page", "author"]
#: what may be stopped in which way
SCOPES: dict[Kind, tuple[Scope, ...]] = {
    "halt": ("all", "host", "source"),
    "objection": ("host", "prefix", "page", "source", "author"),
}
MADE: dict[Kind, str] = {"halt": "crawl_halted", "objection": "objection"}
LIFTED: dict[Kind, str] = {"halt": "crawl_resumed", "objection": "objection_lifted"}

_HOST = re.compile(r"(\*\.)?(?=.{1,253}$)[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[?[0-9a-f:.]+\]?")


@dataclass(frozen=True)
class Stop:
    """One halt or objection as it stands. `target` of a page is a hash, of an author the pseudonym, of `all` empty."""

    kind: str
    scope: str
    target: str
    reason: str
    actor: str
    made_at: datetime
    lifted_at: datetime | None = None
    lifted_by: str = ""
    lifted_reason: str = ""

    @property
    def what(self) -> str:
        """The target for a log line or a terminal."""
        if self.scope == "all":
            return "everything"
        shown = self.target[:8] + "…" if self.scope in ("page", "author") else self.target
        return f"{self.scope} {shown}"

    @property
    def sentence(self) -> str:
        """Who stopped what, since when and why."""
        since = f"since {self.made_at.isoformat(timespec='minutes')}"
        if self.kind == "halt":
            return f"collecting of {self.what} was halted by {self.actor} {since}: {self.reason}; `quansheng resume` lifts it"
        return f"{self.what} objected ({since}): nothing of it is fetched or stored"


def hostname(url: str) -> str:
    """Host of an address in lower case; "" of one that has none or is none ("http://[待补")."""
    try:
        return (urlsplit(url.strip()).hostname or "").lower()
    except ValueError:
        return ""


def meant(url: str) -> str:
    """The address that a differently written one means: with a scheme, its host in lower case, without the usual port.

    "bbs.a.cn:80/t/7" and "HTTP://BBS.a.cn./t/7" are http://bbs.a.cn/t/7: files from elsewhere write what they like, and nothing
    goes around an objection by it. What cannot be read comes back as it is.
    """
    text = url.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text.lstrip('/')}")
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return text
    if not host:
        return text
    place = f"[{host}]" if ":" in host else host
    if port not in (None, {"http": 80, "https": 443}.get(parts.scheme)):
        place += f":{port}"
    return urlunsplit((parts.scheme, place, parts.path, parts.query, parts.fragment))


def spellings(url: str) -> list[str]:
    """The address with and without a final slash, by http and by https, without its fragment."""
    text = url.strip()
    try:
        plain = urldefrag(text).url.removesuffix("/")
    except ValueError:  # no address that could be read, but still the one that a post came with
        plain = text.partition("#")[0].removesuffix("/")
    rest = plain.partition("://")[2]
    forms = [f"http://{rest}", f"https://{rest}"] if plain.startswith(("http://", "https://")) else [plain]
    return [form + slash for form in forms for slash in ("", "/")]


def page_key(url: str) -> str:
    """By what an objection to one page is remembered; the address itself is not kept."""
    return hashlib.sha256(spellings(url)[0].encode()).hexdigest()[:30]


@dataclass(frozen=True)
class Stops:
    """The stops in force at one moment, ready to be asked for many addresses."""

    rows: tuple[Stop, ...] = ()

    def __post_init__(self) -> None:
        by: dict[str, dict[str, Stop]] = {}
        for row in self.rows:
            by.setdefault(row.scope, {})[row.target] = row
        object.__setattr__(self, "_by", by)

    def _of(self, scope: Scope) -> dict[str, Stop]:
        found: dict[str, Stop] = self._by.get(scope, {})  # type: ignore[attr-defined]
        return found

    def of_source(self, source_id: str, hosts: Collection[str] = ()) -> Stop | None:
        """Why nothing of a source may be fetched: everything, the source or one of its hosts is stopped."""
        found = self._of("all").get("") or self._of("source").get(source_id)
        if found is not None:
            return found
        return next(filter(None, (self._host(host) for host in sorted(hosts))), None)

    def of(self, source: Source) -> Stop | None:
        """Why nothing of a source in sources.yaml may be fetched: as `of_source`, or its own address is stopped."""
        return self.of_source(source.id, source.hosts) or self.of_url(source.url)

    def of_url(self, url: str) -> Stop | None:
        """Why an address may not be fetched, nor a post with it stored (host, prefix, page)."""
        if not self.rows or not url:
            return None
        forms = dict.fromkeys((url, meant(url)))
        return self._of("all").get("") or next(filter(None, map(self._of_form, forms)), None)

    def _of_form(self, url: str) -> Stop | None:
        host = hostname(url)
        if (found := self._host(host)) is not None:
            return found
        if host and (prefixes := self._of("prefix")):
            bare = _bare(url)
            for prefix, stop in prefixes.items():
                if _begins(bare, prefix):
                    return stop
        pages = self._of("page")
        return pages.get(page_key(url)) if pages else None

    def of_author(self, author_key: str | None) -> Stop | None:
        """Why a post of this pseudonym may not be stored."""
        return self._of("author").get(author_key) if author_key else None

    def of_post(self, source_id: str, url: str, author_key: str | None) -> Stop | None:
        """Why a post may not be stored."""
        return self.of_source(source_id) or self.of_url(url) or self.of_author(author_key)

    def _host(self, host: str) -> Stop | None:
        hosts = self._of("host")
        if not hosts or not host:
            return None
        if host in hosts:
            return hosts[host]
        labels = host.split(".")
        wild = (f"*.{'.'.join(labels[at:])}" for at in range(len(labels)))
        return next((hosts[name] for name in wild if name in hosts), None)


def _bare(url: str) -> str:
    """Address without scheme and fragment, host in lower case: http and https are the same place."""
    parts = urlsplit(url.strip())
    return parts.netloc.lower() + (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _begins(bare: str, prefix: str) -> bool:
    """/u/12 covers /u/12, /u/12/3 and /u/12?p=2, not /u/123."""
    if not bare.startswith(prefix):
        return False
    rest = bare[len(prefix) :]
    return not rest or not prefix[-1].isalnum() or not rest[0].isalnum()


def target_of(scope: str, target: str) -> str:
    """`target` as it is kept and compared. Raises Refused for one that cannot be meant."""
    text = target.strip()
    if scope == "all":
        return ""
    if not text or len(text) > 500:
        raise Refused("请填写对象。", "say what is meant: a host, an address, a source or a pseudonym")
    if scope == "host":
        return _host_target(text)
    if scope == "prefix":
        if not text.lower().startswith(("http://", "https://")) or not hostname(text):
            raise Refused(
                "网址前缀须以 http:// 或 https:// 开头。",
                "a prefix is an address that begins with http:// or https://",
            )
        return _bare(meant(text))
    if scope == "page":
        return text if re.fullmatch(r"[0-9a-f]{30}", text) else page_key(meant(text))
    if scope == "author" and not re.fullmatch(r"[0-9a-f]{32}", text):
        raise Refused("作者须以 32 位化名填写。", "an author is named by the pseudonym, 32 hex digits")
    return text


def _host_target(text: str) -> str:
    host = (hostname(text) if "://" in text else text).lower().rstrip(".")
    if not _HOST.fullmatch(host):
        raise Refused(
            f"“{text[:60]}”不是主机名。",
            f"{text[:60]!r} is no host name; expected bbs.example.cn or *.example.cn",
        )
    if host.startswith("*.") and host.count(".") < 2:
        raise Refused("通配范围过大。", f"{host} would stop a whole top-level domain")
    return host.strip("[]")


def active(session: Session, kind: Kind | None = None) -> list[Stop]:
    """Stops in force, the oldest first."""
    query = select(CrawlStop).where(CrawlStop.lifted_at.is_(None)).order_by(CrawlStop.made_at, CrawlStop.id)
    if kind is not None:
        query = query.where(CrawlStop.kind == kind)
    return [_view(row) for row in session.scalars(query)]


def past(session: Session, limit: int = 50) -> list[Stop]:
    """Lifted ones, the latest first."""
    query = (
        select(CrawlStop)
        .where(CrawlStop.lifted_at.is_not(None))
        .order_by(CrawlStop.lifted_at.desc())
        .limit(limit)
    )
    return [_view(row) for row in session.scalars(query)]


def in_force(session: Session, kind: Kind | None = None) -> Stops:
    """The stops in force, ready to be asked."""
    return Stops(tuple(active(session, kind)))


def make(
    session: Session,
    kind: Kind,
    scope: Scope,
    target: str,
    *,
    reason: str,
    actor: str,
    channel: str,
    now: datetime,
) -> Stop:
    """Put a stop in force: row and event.

    Repeated while in force: one more event, the row stays. Raises Refused without a reason, for a scope that this
    kind does not have, or a target that cannot be meant.
    """
    if scope not in SCOPES[kind]:
        raise Refused("不支持的范围。", f"a {kind} has no scope {scope}; expected {', '.join(SCOPES[kind])}")
    why = " ".join(reason.split())[:500]
    if not why:
        raise Refused("请填写理由。", "a reason is needed: it stands in the record and on every page")
    event = events.append(
        session,
        session.info["audit_key"],
        kind=MADE[kind],
        actor=actor,
        channel=channel,
        now=now,
        payload={"scope": scope, "target": target_of(scope, target), "reason": why},
    )
    return _apply(session, event)


def lift(
    session: Session,
    kind: Kind,
    scope: str,
    target: str,
    *,
    reason: str,
    actor: str,
    channel: str,
    now: datetime,
) -> Stop:
    """Take a stop back: by a person, with a reason. `target` as it was given or as it is kept.

    Raises Refused without a reason, and when none is in force.
    """
    why = " ".join(reason.split())[:500]
    if not why:
        raise Refused("请填写理由。", "a reason is needed: it stands in the record")
    row = session.scalar(_one(kind, scope, target))
    if row is None:
        row = session.scalar(_one(kind, scope, target_of(scope, target)))
    if row is None or row.lifted_at is not None:
        raise Refused("该项已不在生效。", f"no {kind} of {scope} {target} is in force".replace("  ", " "))
    event = events.append(
        session,
        session.info["audit_key"],
        kind=LIFTED[kind],
        actor=actor,
        channel=channel,
        now=now,
        payload={"scope": scope, "target": row.target, "reason": why},
    )
    return _apply(session, event)


def _one(kind: str, scope: str, target: str) -> Any:
    return select(CrawlStop).where(
        CrawlStop.kind == kind, CrawlStop.scope == scope, CrawlStop.target == target
    )


Row = dict[str, Any]
Key = tuple[Any, ...]


def fold(rows: dict[Key, Row], event: IncidentEvent) -> None:
    """Apply one event; the rows' key is (kind, scope, target)."""
    kind = _KINDS.get(event.kind)
    if kind is None:
        return
    given = event.payload
    # objections of the first version name only the hash of a page
    scope, target = given.get("scope", "page"), given.get("target", given.get("address_sha256", ""))
    row = rows.get((kind, scope, target))
    if event.kind in MADE.values():
        if row is None or row["lifted_at"] is not None:
            rows[kind, scope, target] = {
                "reason": given.get("reason", ""),
                "actor": event.actor,
                "channel": event.channel,
                "made_at": event.occurred_at,
                "lifted_at": None,
                "lifted_by": "",
                "lifted_reason": "",
            }
    elif row is not None:
        row.update(lifted_at=event.occurred_at, lifted_by=event.actor, lifted_reason=given.get("reason", ""))


_KINDS: dict[str, Kind] = {
    **{name: kind for kind, name in MADE.items()},
    **{name: kind for kind, name in LIFTED.items()},
}


def _apply(session: Session, event: IncidentEvent) -> Stop:
    kind, scope, target = _KINDS[event.kind], event.payload["scope"], event.payload["target"]
    row = session.scalar(_one(kind, scope, target))
    rows: dict[Key, Row] = {}
    if row is not None:
        rows[kind, scope, target] = {name: getattr(row, name) for name in _COLUMNS}
    fold(rows, event)
    values = rows[kind, scope, target]
    if row is None:
        row = CrawlStop(kind=kind, scope=scope, target=target)
        session.add(row)
    for name, value in values.items():
        setattr(row, name, value)
    session.flush()
    return _view(row)


_COLUMNS = ("reason", "actor", "channel", "made_at", "lifted_at", "lifted_by", "lifted_reason")


def _view(row: CrawlStop) -> Stop:
    return Stop(
        row.kind,
        row.scope,
        row.target,
        row.reason,
        row.actor,
        row.made_at,
        row.lifted_at,
        row.lifted_by,
        row.lifted_reason,
    )
