"""Signed links of a hand-over 交接班: a GET shows it, only a POST confirms. No login: the link names the person and the side."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse, Response

from config.tokens import BadToken, HandoverClaim, verify_handover
from console.context import Visit, visit
from console.forms import Posted, posted
from console.render import page
from console.security import form_token
from incidents import queries, rota
from incidents.states import Refused

router = APIRouter(include_in_schema=False)
LATE = "链接已过期。请登录控制台，在“值班表”页确认交接班。"
FORGED = "链接无效：可能不完整或被改动。请从提醒消息中重新打开。"
GONE = "没有这次交接班。请登录控制台，在“值班表”页查看。"
#: open incidents on the page; the console has the rest
_SHOWN = 20


def _claim(here: Visit, token: str) -> HandoverClaim | Response:
    try:
        return verify_handover(here.console.keys.links, token, here.now)
    except BadToken as bad:
        expired = bad.reason == "expired"
        return page(
            here, "ack_bad.html", status=410 if expired else 404, sentence=LATE if expired else FORGED
        )


def _show(here: Visit, token: str, claim: HandoverClaim, *, status: int = 200, error: str = "") -> Response:
    with here.console.db.reading() as session:
        found = rota.find_handover(session, claim.role, claim.shift_end)
        if found is None:
            return page(here, "ack_bad.html", status=404, sentence=GONE)
        incidents = queries.list_by_urgency(session, limit=_SHOWN + 1)
    handover, superseded = found
    given, taken = claim.side == "given", claim.side == "taken"
    return page(
        here,
        "handover.html",
        status=status,
        error=error,
        handover=handover,
        superseded=superseded,
        given=given,
        confirmed_at=handover.taken_at if taken else handover.given_at,
        other_note=handover.given_note if taken else handover.taken_note,
        names={person.id: person.name for person in here.console.bundle.roster.people},
        incidents=incidents[:_SHOWN],
        more=len(incidents) > _SHOWN,
        token=token,
        csrf=form_token(here.console.keys.sessions, f"handover/{token}"),
    )


@router.get("/handover/{token}")
def show_handover(token: str, here: Annotated[Visit, Depends(visit)]) -> Response:
    """Who hands over to whom, what is open, and the button. Mail scanners that open every link change nothing."""
    claim = _claim(here, token)
    return _show(here, token, claim) if isinstance(claim, HandoverClaim) else claim


@router.post("/handover/{token}")
def press_handover(
    token: str, here: Annotated[Visit, Depends(visit)], form: Annotated[Posted, Depends(posted)]
) -> Response:
    """Confirm one side in the name of the person whom the link was sent to; pressing twice acts once."""
    form.checked(form_token(here.console.keys.sessions, f"handover/{token}"))
    claim = _claim(here, token)
    if not isinstance(claim, HandoverClaim):
        return claim
    try:
        with here.console.db.transaction() as session:
            found = rota.find_handover(session, claim.role, claim.shift_end)
            if found is None:
                raise Refused(GONE, "there is no such hand-over")
            handover, superseded = found
            if getattr(handover, f"{claim.side}_at") is None:
                if superseded:
                    raise Refused(
                        "之后已有新的交接班，无需再确认。",
                        "a later hand-over has begun; nothing is to be confirmed here",
                    )
                rota.sign(
                    session,
                    handover.id,
                    claim.side,
                    by=claim.person,
                    note=form.text("note"),
                    channel="link",
                    now=here.now,
                )
    except Refused as refusal:
        return _show(here, token, claim, status=409, error=refusal.en if here.lang == "en" else refusal.zh)
    return RedirectResponse(f"/handover/{token}", 303)
