"""What every page needs: the installation (`Console`) and the present request (`Visit`)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Path, Request
from jinja2 import Environment

from config.bundle import Bundle
from config.i18n import translator
from config.keys import Keys
from console.words import DONE
from incidents import accounts
from incidents.api_tokens import TokenView
from incidents.letter_text import LetterText
from incidents.session import Database

COOKIE = "qs_session"
LANG_COOKIE = "qs_lang"
#: the stream of live updates: it reconnects by itself, so it is nobody's activity
LIVE_PATH = "/desk/events"
#: a session is written at most this often, so that reading pages does not write all the time
TOUCH_EVERY = timedelta(seconds=60)
#: number of a row in an address; a longer one is no number that a database takes
RowId = Annotated[int, Path(ge=1, lt=2**62)]
LANGUAGES = {"zh": "zh_CN", "zh_CN": "zh_CN", "en": "en"}


class NeedLogin(Exception):
    """Nobody is logged in; pages answer with the login form, the API with 401."""


class NeedNewPassword(Exception):
    """The account works with a generated password that has to be replaced first."""


class Forbidden(Exception):
    """The person may not do or see this. `msgid` is the sentence."""

    def __init__(self, msgid: str) -> None:
        super().__init__(msgid)
        self.msgid = msgid


@dataclass(frozen=True)
class Console:
    """One running console. `now` is the only clock its pages look at."""

    db: Database
    bundle: Bundle
    keys: Keys
    now: Callable[[], datetime]
    pages: Environment
    assets: dict[str, str]  # file below static/ -> short hash, for addresses that may be cached for ever
    #: sets a letter as DOCX; whoever starts the console gives it, since only the reports know paper. None: no such button
    letter_docx: Callable[[LetterText, datetime], bytes] | None = None

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which people read times."""
        return ZoneInfo(self.bundle.settings.city.timezone)

    @property
    def secure(self) -> bool:
        """Whether people reach the console by https."""
        return self.bundle.settings.link_base.startswith("https://")


@dataclass(frozen=True)
class Reader:
    """For whom something is written, and when: a page's visitor, or whoever asked for a file."""

    console: Console
    now: datetime
    lang: str
    translate: Callable[[str], str]

    def t(self, msgid: str, **values: object) -> str:
        """The text in the reader's language, `{name}` filled in."""
        text = self.translate(msgid)
        return text.format(**values) if values else text


@dataclass(frozen=True)
class Visit(Reader):
    """One request: who, when, in which language."""

    request: Request
    session: accounts.SessionView | None = None
    #: a log-in that still lacks its second factor: nobody is logged in by it
    half: accounts.SessionView | None = None
    #: what a script showed instead of a session; never on pages (console.api.caller)
    token: TokenView | None = None
    fresh: str = field(default_factory=lambda: secrets.token_urlsafe(12))

    @property
    def account(self) -> accounts.AccountView:
        """Who is logged in, or in whose name a script reads."""
        if self.token is not None:
            return self.token.account
        if self.session is None:
            raise NeedLogin
        return self.session.account

    @property
    def done(self) -> str:
        """The act that led to this page, from its address; nothing else gets onto the page that way."""
        act = self.request.query_params.get("done", "")
        return act if act in DONE else ""

    @property
    def department(self) -> str:
        """The only department whose incidents the person may see; empty means all."""
        return self.account.department if self.account.role == "department" else ""


def clean(text: str) -> str:
    """Text as every database takes it: PostgreSQL refuses NUL."""
    return text.replace("\x00", "").strip()


def console_of(request: Request) -> Console:
    """The installation that serves `request`."""
    console: Console = request.app.state.console
    return console


def language_of(request: Request, default: str) -> str:
    """?lang=, then the cookie, then the city's language."""
    for wish in (request.query_params.get("lang"), request.cookies.get(LANG_COOKIE)):
        if wish in LANGUAGES:
            return LANGUAGES[wish]
    return default


def visit(request: Request) -> Visit:
    """Dependency of pages that need no login; knows the person when there is one."""
    console = console_of(request)
    now = console.now()
    lang = language_of(request, console.bundle.settings.city.language)
    found = _session(console, request, now)
    whole, half = (None, found) if found is not None and found.pending else (found, None)
    return Visit(console, now, lang, translator("console", lang), request, whole, half)


def _session(console: Console, request: Request, now: datetime) -> accounts.SessionView | None:
    token = request.cookies.get(COOKIE, "")
    if not token:
        return None
    idle = timedelta(minutes=console.bundle.settings.console.idle_min)
    with console.db.reading() as session:
        found = accounts.get_session(session, token, now, idle=idle)
    # a page that refreshes itself is nobody's activity: it must not keep an empty chair logged in
    polling = request.headers.get("x-quansheng-poll") == "1" or request.url.path == LIVE_PATH
    if found is not None and not polling and found.last_seen_at + TOUCH_EVERY <= now:
        with console.db.transaction() as session:
            accounts.touch_session(session, token, now)
    return found


def member(request: Request) -> Visit:
    """Dependency of everything that needs a logged-in person with a password of their own."""
    here = visit(request)
    if stale_password(here):
        raise NeedNewPassword
    return here


def stale_password(here: Visit) -> bool:
    """Whether the person has to choose a new password first: it was generated, or is older than the setting allows."""
    account, days = here.account, here.console.bundle.settings.signin.password_days
    if account.must_change:
        return True
    return account.origin == "local" and days > 0 and account.password_age(here.now) > timedelta(days=days)
