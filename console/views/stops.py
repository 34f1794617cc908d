"""停采与异议: what is halted, who objected; only administrators halt, lift and enter objections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, cast

from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse, Response

from console.context import Forbidden, Visit, member
from console.forms import Posted, own_form
from console.render import page
from console.rights import need_all
from incidents import retention, stops
from incidents.installation import Installation
from incidents.states import Refused
from incidents.stops import Scope
from spiders.redact import pseudonym
from spiders.traces import object_to

router = APIRouter(include_in_schema=False)


def reader(here: Annotated[Visit, Depends(member)]) -> Visit:
    """Dependency: everybody but clerks of departments, who see no sources of others' matters."""
    need_all(here)
    return here


def administrator(here: Annotated[Visit, Depends(member)]) -> Visit:
    """Dependency: only administrators stop and lift."""
    if here.account.role != "administrator":
        raise Forbidden("只有管理员可以停止、恢复采集和登记异议。")
    return here


def _show(here: Visit, *, status: int = 200, error: str = "", draft: Posted | None = None) -> Response:
    with here.console.db.reading() as session:
        current = stops.active(session)
        past = stops.past(session)
        checked = retention.last_check(session)
    return page(
        here,
        "stops.html",
        status=status,
        halted=[one for one in current if one.kind == "halt"],
        objections=[one for one in current if one.kind == "objection"],
        past=past,
        checked=checked,
        sources=here.console.bundle.sources,
        hosts=sorted({host for source in here.console.bundle.sources for host in source.hosts}),
        may=here.account.role == "administrator",
        error=error,
        draft=draft or {},
        done=here.done,
    )


@router.get("/stops")
def stops_page(here: Annotated[Visit, Depends(reader)]) -> Response:
    """What is stopped now, by whom and why; what was lifted."""
    return _show(here)


@router.post("/stops/halt")
def halt(
    here: Annotated[Visit, Depends(administrator)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Stop everything, one source or one host; crawls under way end within two seconds."""
    scope, _, target = form.text("what", 300).partition(":")

    def act() -> None:
        with here.console.db.transaction() as session:
            stops.make(
                session,
                "halt",
                cast("Scope", scope),
                target,
                reason=form.text("reason", 500),
                actor=here.account.login,
                channel="console",
                now=here.now,
            )

    return _done(here, form, act, "halted")


@router.post("/stops/objection")
def enter(
    here: Annotated[Visit, Depends(administrator)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Enter an objection. The name of an author is turned into the pseudonym here and kept nowhere."""
    scope, target = cast("Scope", form.text("scope", 20)), form.text("target", 500)

    def act() -> None:
        named = target
        if form.text("sure", 5) != "1":
            raise Refused(
                "请勾选“已核对，删除不可恢复”。", "tick that you have checked: what is removed is gone"
            )
        if scope == "author":
            source = form.text("source", 80)
            if here.console.bundle.source(source) is None:
                raise Refused("作者异议须选择信源。", "an author's objection needs the source")
            named = pseudonym(here.console.keys.pseudonym, source, target) or ""
        object_to(
            Installation(here.console.db, here.console.bundle, here.console.keys),
            scope,
            named,
            reason=form.text("reason", 500),
            actor=here.account.login,
            channel="console",
            now=here.now,
        )

    return _done(here, form, act, "objected")


@router.post("/stops/lift")
def lift(
    here: Annotated[Visit, Depends(administrator)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Take a halt or an objection back, with a reason."""

    def act() -> None:
        with here.console.db.transaction() as session:
            stops.lift(
                session,
                "objection" if form.text("kind", 20) == "objection" else "halt",
                form.text("scope", 20),
                form.text("target", 600),
                reason=form.text("reason", 500),
                actor=here.account.login,
                channel="console",
                now=here.now,
            )

    return _done(here, form, act, "lifted")


def _done(here: Visit, form: Posted, act: Callable[[], None], name: str) -> Response:
    try:
        act()
    except Refused as refusal:
        sentence = refusal.en if here.lang == "en" else refusal.zh
        return _show(here, status=409, error=sentence, draft=form)
    return RedirectResponse(f"/stops?done={name}", 303)
