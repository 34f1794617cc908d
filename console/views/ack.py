"""Signed acknowledgement links: a GET shows, only a POST acknowledges. No login: the link names the person."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse, Response

from config.tokens import AckClaim, BadToken, verify_ack
from console.context import Visit, visit
from console.forms import Posted, posted
from console.render import page
from console.security import form_token
from incidents import clocks, desk, queries
from incidents.lifecycle import handle_or_refuse
from incidents.states import Acknowledge, Refused

router = APIRouter(include_in_schema=False)
LATE = "链接已过期。请登录控制台确认，或查看最新的提醒。"
FORGED = "链接无效：可能不完整或被改动。请从提醒消息中重新打开。"


def _claim(here: Visit, token: str) -> AckClaim | Response:
    try:
        claim = verify_ack(here.console.keys.links, token, here.now)
        if claim.person.startswith("@"):  # a button's token names nobody: it is no link
            raise BadToken("forged")
        return claim
    except BadToken as bad:
        expired = bad.reason == "expired"
        return page(
            here, "ack_bad.html", status=410 if expired else 404, sentence=LATE if expired else FORGED
        )


def _show(here: Visit, token: str, claim: AckClaim, *, status: int = 200, error: str = "") -> Response:
    with here.console.db.reading() as session:
        incident = queries.get_incident(session, claim.incident_id)
        if incident is None:
            return page(here, "ack_bad.html", status=404, sentence="没有这个事件：它可能已按规定清除。")
        state = desk.page_states(session, {incident.id: incident.epoch}).get(incident.id, desk.PageState())
        running = [clock for clock in clocks.deadlines_of(session, incident.id) if clock.state == "open"]
        moved = [
            event
            for event in queries.events_of(session, incident.id)
            if event.kind in ("assigned", "returned", "reopened", "restored") and event.epoch > claim.epoch
        ]
    return page(
        here,
        "ack.html",
        status=status,
        error=error,
        incident=incident,
        claim=claim,
        token=token,
        csrf=form_token(here.console.keys.sessions, f"ack/{token}"),
        page_state=state,
        clocks=running,
        stale=claim.epoch != incident.epoch,
        moved=moved[-1] if moved else None,
    )


@router.get("/a/{token}")
def show_ack(token: str, here: Annotated[Visit, Depends(visit)]) -> Response:
    """What it is about, and the button. Mail scanners that open every link change nothing."""
    claim = _claim(here, token)
    return _show(here, token, claim) if isinstance(claim, AckClaim) else claim


@router.post("/a/{token}")
def press_ack(
    token: str, here: Annotated[Visit, Depends(visit)], form: Annotated[Posted, Depends(posted)]
) -> Response:
    """Acknowledge in the name of the person whom the link was sent to; pressing twice acts once."""
    form.checked(form_token(here.console.keys.sessions, f"ack/{token}"))
    claim = _claim(here, token)
    if not isinstance(claim, AckClaim):
        return claim
    try:
        handle_or_refuse(
            here.console.db,
            claim.incident_id,
            Acknowledge(epoch=claim.epoch, step=claim.step),
            actor=claim.person,
            channel="link",
            now=here.now,
            idempotency_key=f"ack:{claim.incident_id}:{claim.epoch}:{claim.person}",
        )
    except Refused as refusal:
        sentence = refusal.en if here.lang == "en" else refusal.zh
        return _show(here, token, claim, status=409, error=sentence)
    return RedirectResponse(f"/a/{token}?done=ack", 303)
