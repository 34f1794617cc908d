"""Templates and what they may call: times, words, names. Everything is escaped unless a template is HTML itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from console import rights
from console.context import LANG_COOKIE, LANGUAGES, Visit
from console.marks import Marks, bars
from console.menu import menu
from console.say import Say, safe_url
from incidents import stops
from incidents.grams import spellings
from incidents.labels import VALUES
from incidents.stops import Stop

HERE = Path(__file__).parent
#: what a person may choose of the look of every page, the usual first; kept in a cookie
LOOKS = {"text": ("normal", "large", "huge"), "theme": ("auto", "light", "dark")}
LOOK_COOKIE = "qs_look"
STATIC = HERE / "static"


def environment() -> Environment:
    """The template environment; an unknown name in a template is an error, not an empty place."""
    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(["html"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset_hashes() -> dict[str, str]:
    """A short hash of every file below static/."""
    return {
        file.relative_to(STATIC).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()[:8]
        for file in sorted(STATIC.rglob("*"))
        if file.is_file()
    }


@lru_cache(maxsize=100)
def _pattern(needles: tuple[str, ...]) -> re.Pattern[str]:
    def letter(one: str) -> str:
        return f"[{''.join(map(re.escape, spellings(one) or (one,)))}]"

    return re.compile("|".join("".join(map(letter, needle)) for needle in needles), re.IGNORECASE)


def marked(text: str, needles: Sequence[str]) -> Markup:
    """`text`, escaped, with every needle in <mark>, however its hanzi are written there."""
    found = sorted({needle for needle in needles if needle}, key=len, reverse=True)
    if not found:
        return Markup(escape(text))  # noqa: S704 (escape() made it safe)
    pattern = _pattern(tuple(found))
    out, last = Markup(""), 0
    for match in pattern.finditer(text):
        out += (
            escape(text[last : match.start()]) + Markup("<mark>") + escape(match.group()) + Markup("</mark>")
        )
        last = match.end()
    return out + escape(text[last:])


def with_query(here: Visit, **change: str | int | None) -> str:
    """The present address with some query values changed (None removes one): every view has a permalink."""
    params: dict[str, Any] = dict(here.request.query_params)
    for once in ("done", *LOOKS):
        params.pop(once, None)
    for key, value in change.items():
        if value is None:
            params.pop(key, None)
        else:
            params[key] = value
    # a page of a search has two hundred such links: written here, for an address object costs ten times as much
    path = here.request.url.path
    return f"{path}?{urlencode({key: str(value) for key, value in params.items()})}" if params else path


def _halts(here: Visit) -> list[Stop]:
    """What is halted now: on top of every page, so that nobody takes silence for calm."""
    with here.console.db.reading() as session:
        return stops.active(session, "halt")


def look_of(here: Visit) -> dict[str, str]:
    """Size of the text and colours: from the address (a link of the page itself), else from the cookie, else the first choice."""
    kept = dict(
        part.split("-", 1) for part in here.request.cookies.get(LOOK_COOKIE, "").split(".") if "-" in part
    )
    found = {}
    for name, choices in LOOKS.items():
        wishes = (here.request.query_params.get(name), kept.get(name))
        found[name] = next((wish for wish in wishes if wish in choices), choices[0])
    return found


def page(here: Visit, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Render one template for this visit."""
    console = here.console

    def asset(name: str) -> str:
        return f"/static/{name}?v={console.assets[name]}"

    def t(msgid: str, **inner: object) -> str:
        return here.t(msgid, **inner)

    def query(**change: str | int | None) -> str:
        return with_query(here, **change)

    say = Say(here)
    helpers: dict[str, Callable[..., Any]] = {
        "_": t,
        "asset": asset,
        "query": query,
        "marked": marked,
        "safe_url": safe_url,
        "bars": bars,
        "halts": lambda: _halts(here),
        "menu": lambda: menu(here.account.role, here.translate),
        "may_act": rights.may_act,
        "may_teach": lambda: rights.may_teach(here),
        "may_answer": lambda: rights.may_answer(here),
        "to_json": lambda value: json.dumps(value, ensure_ascii=False, default=str),
    }
    look = look_of(here)
    html = console.pages.get_template(template).render(
        here=here,
        say=say,
        marks=Marks(say, asset),
        now=here.now,
        settings=console.bundle.settings,
        label_values=VALUES,
        look=look,
        **helpers,
        **values,
    )
    answer = HTMLResponse(html, status_code=status)
    keep: dict[str, str] = {}
    wish = here.request.query_params.get("lang")
    if wish in LANGUAGES:
        keep[LANG_COOKIE] = LANGUAGES[wish]
    if any(name in here.request.query_params for name in LOOKS):
        keep[LOOK_COOKIE] = ".".join(f"{name}-{choice}" for name, choice in look.items())
    for cookie, value in keep.items():
        answer.set_cookie(
            cookie,
            value,
            max_age=365 * 86400,
            samesite="lax",
            httponly=True,
            secure=console.secure,
        )
    return answer
