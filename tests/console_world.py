"""An invented city on 24 November 2026, built through the product's own functions: for tests and pictures of the console."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
from fastapi import FastAPI

from alerts.job import send, tick
from config.bundle import Bundle, load_bundle
from config.keys import Keys
from console.app import create_app
from console.passwords import hash_password
from incidents import accounts, lifecycle, sources
from incidents.judgements import NewJudgement, add_post, open_watching, save_judgements
from incidents.letter_text import LetterText
from incidents.posts import NewPost, save_posts
from incidents.queries import IncidentView, get_incident
from incidents.session import Database
from incidents.states import Command, Detect

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 24, 10, 20, tzinfo=ZONE)
PASSWORD = "Quan-2026-sheng"
KEYS = Keys.derive(b"only for tests, 32 bytes or more of it")
#: what the database fixtures sign events with
AUDIT_KEY = b"a key that signs nothing but tests"
#: one hash for all accounts: hashing is slow on purpose
_HASH = hash_password(PASSWORD)


@dataclass
class World:
    """A console over one database, at a time that a test moves."""

    db: Database
    bundle: Bundle
    now: datetime = NOW
    keys: Keys = KEYS
    letter_docx: Callable[[LetterText, datetime], bytes] | None = None
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def app(self) -> FastAPI:
        """The console."""
        return create_app(self.db, self.bundle, self.keys, lambda: self.now, self.letter_docx)

    def account(
        self, login: str = "lin", role: str = "duty", department: str = "", name: str = "林东"
    ) -> str:
        """A person who has replaced the generated password."""
        with self.db.transaction() as session:
            accounts.create_account(
                session,
                login=login,
                display_name=name,
                role=role,
                department=department,
                password_hash=_HASH,
                must_change=False,
                now=self.now,
            )
        return login

    def post(self, session: object, text: str, at: datetime, **fields: object) -> int:
        """One stored post; returns its id."""
        number = next(self.numbers)
        values: dict[str, object] = {
            "source_id": "forum-column",
            "external_id": f"t{number}",
            "url": f"https://bbs.example.invalid/t/{number}",
            "title": "",
            "published_estimated": False,
            "fetched_at": at + timedelta(minutes=4),
            "author_key": f"author-{number}",
            **fields,
        }
        new = NewPost(text=text, published_at=at, **values)  # type: ignore[arg-type]
        return save_posts(session, [new]).ids[0]  # type: ignore[arg-type]

    def incident(
        self,
        title: str,
        texts: list[str],
        *,
        domain: str = "food_safety",
        district: str = "历下区",
        level: str = "general",
        began: timedelta = timedelta(hours=5),
        every: timedelta = timedelta(minutes=17),
        track: str = "burst",
        copies: int = 0,
        elsewhere: Mapping[int, str] | None = None,
        at: datetime | None = None,
    ) -> IncidentView:
        """A detected incident; `began` before now, one post `every` so often, `copies` near-copies of the first.

        `elsewhere`: other districts, by the number of the post that speaks of them.
        """
        start = (self.now - began).astimezone(UTC)
        ids: list[int] = []
        with self.db.transaction() as session:
            incident_id = open_watching(
                session, title=title, domain=domain, district=district, first_posted_at=start, sketch={}
            )
            judgements = []
            for index, text in enumerate(texts + [texts[0] + "（转）"] * copies):
                when = start + every * index
                post_id = self.post(
                    session, text, when, source_id=("forum-column", "city-board-feed")[index % 2]
                )
                ids.append(post_id)
                copy = ids[0] if index >= len(texts) else None
                place = (elsewhere or {}).get(index, district)
                judgements.append(_judgement(post_id, domain, place, copy, risk=2 if index == 0 else 0))
            save_judgements(session, judgements, self.now)
            for index, post_id in enumerate(ids):
                add_post(
                    session,
                    incident_id,
                    post_id,
                    similarity=0.8,
                    voice=index < len(texts),
                    published_at=start + every * index,
                    negative=index % 4 != 3,
                    now=self.now,
                )
            lifecycle.handle(
                session,
                incident_id,
                Detect(track, _why(len(ids), len(texts), track, domain), level),
                actor="system",
                channel="system",
                now=at or min(start + every * len(ids), self.now),
            )
        return self.get(incident_id)

    def get(self, incident_id: int) -> IncidentView:
        """The incident as it is now."""
        with self.db.reading() as session:
            found = get_incident(session, incident_id)
        assert found is not None
        return found

    def act(self, incident: IncidentView, *commands: Command, actor: str = "lin-dong") -> IncidentView:
        """Carry out commands, then let the alerts react."""
        for command in commands:
            with self.db.transaction() as session:
                lifecycle.handle(session, incident.id, command, actor=actor, channel="console", now=self.now)
        self.run()
        return self.get(incident.id)

    def run(self) -> None:
        """One turn of clocks and messages, at the world's time."""
        tick(self.db, self.bundle, self.keys, self.now)
        send(self.db, self.bundle, self.keys, lambda: self.now)

    def sources(self) -> None:
        """Every configured source was read; the last one was refused."""
        names = [source.id for source in self.bundle.sources]
        with self.db.transaction() as session:
            for index, name in enumerate(names):
                bad = index == len(names) - 1
                sources.record_crawl(
                    session,
                    name,
                    state="blocked" if bad else "ok",
                    evidence="HTTP 403 for /list, 3 pages before it were fine"
                    if bad
                    else "12 pages, 9 new posts",
                    now=self.now - timedelta(minutes=6 + index),
                    next_due_at=self.now + timedelta(minutes=9 + index),
                    new_posts=0 if bad else 9 + index,
                )


@cache
def jinan() -> Bundle:
    """The packaged configuration, read once."""
    return load_bundle(None)


def world(db: Database, folder: Path, **settings: object) -> World:
    """A world over `db` whose data folder lies in `folder`; the packaged Jinan configuration."""
    change = {"config_dir": folder, "data_dir": folder / "var", **settings}
    return World(db, replace(jinan(), settings=jinan().settings.model_copy(update=change)))


class _InProcess(httpx.BaseTransport):
    """Requests to an ASGI application in this process, without a port."""

    def __init__(self, app: FastAPI) -> None:
        self._inner = httpx.ASGITransport(app, raise_app_exceptions=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request in a loop of its own."""

        async def ask() -> httpx.Response:
            answer = await self._inner.handle_async_request(request)
            raw = b"".join([chunk async for chunk in answer.aiter_raw()])
            return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(raw))

        return asyncio.run(ask())


def client(town: World, login: str | None = "lin", *, lang: str = "") -> httpx.Client:
    """A browser without scripts; logged in when `login` is given (the account must exist)."""
    browser = httpx.Client(transport=_InProcess(town.app()), base_url="http://console.test")
    if lang:
        browser.cookies.set("qs_lang", lang)
    if login is not None:
        answer = submit(browser, browser.get("/login").text, "/login", login=login, password=PASSWORD)
        assert answer.status_code == 303, answer.text
    return browser


def hidden(html: str, action: str) -> dict[str, str]:
    """Hidden fields of the form with this action, as a browser would send them."""
    form = html.split(f'action="{action}"', 1)[1].split("</form>", 1)[0]
    pairs = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
    return dict(pairs)


def submit(browser: httpx.Client, html: str, action: str, **fields: str) -> httpx.Response:
    """Send a form of a page that was read before."""
    return browser.post(
        action, data={**hidden(html, action), **fields}, headers={"Origin": "http://console.test"}
    )


def _why(posts: int, voices: int, track: str, domain: str) -> dict[str, object]:
    if track == "fast":
        return {
            "track": "fast",
            "words": [{"word": "食物中毒", "category": "poisoning", "clause": "孩子吃完食物中毒"}],
            "signal": 0.94,
            "grave": 0.81,
            "domain": domain,
            "watched": True,
            "sentence_zh": "一条帖子提到“食物中毒”，涉及重点领域，属实概率 94%，严重概率 81%，无否定、演练、影视、历史或外地说法。",
            "sentence_en": "one post speaks of “食物中毒” in a watched domain; 94% likely real, 81% likely grave; no negation, drill, fiction, history or other city.",
        }
    return {
        "track": "burst",
        "posts": posts,
        "voices": voices,
        "window_h": 2.0,
        "expected": 1.3,
        "negative": posts * 3 // 4,
        "p": 2.1e-07,
        "limit": 3.5e-05,
        "false_alarms_per_week": 1.0,
        "sources": 2,
        "domain": domain,
        "watched": True,
        "sentence_zh": f"2 小时内 {voices} 位作者发出 {posts} 条，平常应有 1.3 位；负面 75%，来源 2 个。",
        "sentence_en": f"{posts} posts from {voices} authors in 2 hours, expected 1.3; 75% negative; 2 sources.",
    }


def _judgement(post_id: int, domain: str, district: str, copy: int | None, *, risk: int) -> NewJudgement:
    return NewJudgement(
        post_id=post_id,
        domain=domain,
        domain_score=0.91,
        tone="neg" if post_id % 4 else "neu",
        tone_score=0.87,
        snownlp_score=0.12,
        signal=True,
        signal_score=0.9,
        risk=risk,
        risk_score=0.6,
        model_version="test-1",
        districts=[district],
        near_copy_of=copy,
    )
