"""The web console as one ASGI application. `create_app` is the only thing that others need."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from threading import BoundedSemaphore

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.middleware.gzip import GZipMiddleware

from config.bundle import Bundle
from config.keys import Keys
from console import errors
from console.api import incidents as api_incidents
from console.api import posts as api_posts
from console.api import reference as api_reference
from console.api import reports as api_reports
from console.api import sql as api_sql
from console.api.pace import Pace
from console.context import Console
from console.live import Beacon
from console.render import STATIC, asset_hashes, environment
from console.security import Guard
from console.views import (
    account,
    accountability,
    accounts,
    ack,
    acts,
    apidocs,
    audit,
    auth,
    backtest,
    calendar_feeds,
    casefile,
    clocks,
    coverage,
    desk,
    evaluation,
    export,
    handover,
    incident,
    intake,
    letters,
    model,
    obligations,
    promises,
    roster,
    search,
    searches,
    signin,
    slack,
    sql,
    state,
    stops,
    supervision,
    system,
    teach,
    tokens,
    topics,
    unmask,
)
from incidents.letter_text import LetterText
from incidents.session import Database


def create_app(
    db: Database,
    bundle: Bundle,
    keys: Keys,
    now: Callable[[], datetime],
    letter_docx: Callable[[LetterText, datetime], bytes] | None = None,
) -> FastAPI:
    """Build the console over an open database. Starts nothing and writes nothing by itself.

    `now` gives the present as an aware datetime; `letter_docx` sets letters as DOCX (reports.letter_docx). Serve with one worker process: sessions are in the
    database, so several consoles may run side by side, but SQLite has one writer at a time anyway.
    """
    # whoever opened the database: nothing is assigned here to a unit that is complained of
    db.know(bundle.departments)
    app = FastAPI(
        title="Quansheng",
        docs_url=None,  # its page would load scripts from another host: console.views.apidocs has our own
        redoc_url=None,
        openapi_url=None,  # told to whoever may ask the API, by the same file
    )
    app.state.console = Console(db, bundle, keys, now, environment(), asset_hashes(), letter_docx)
    app.state.live = Beacon(lambda: desk.newest_change(db))
    app.state.intake_gate = intake.Gate()
    app.state.api_pace = Pace()
    app.state.sql_gate = BoundedSemaphore(api_sql.AT_ONCE)
    for module in (
        signin,
        auth,
        unmask,
        account,
        accounts,
        audit,
        desk,
        search,
        searches,
        export,
        state,
        topics,
        coverage,
        backtest,
        model,
        teach,
        evaluation,
        acts,
        casefile,
        slack,
        clocks,
        obligations,
        promises,
        supervision,
        accountability,
        letters,
        system,
        stops,
        roster,
        calendar_feeds,
        handover,
        incident,
        intake,
        ack,
        tokens,
        sql,
        apidocs,
        api_incidents,
        api_posts,
        api_reference,
        api_reports,
        api_sql,
    ):
        app.include_router(module.router)
    # only files are compressed: compressed pages that hold a form token and an echoed query could leak the token
    app.mount("/static", GZipMiddleware(StaticFiles(directory=STATIC), minimum_size=1024), name="static")
    errors.install(app)
    app.add_middleware(Guard, https=bundle.settings.link_base.startswith("https://"))
    return app
