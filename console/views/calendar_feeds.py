"""日历订阅: shifts behind a secret address, for calendar programs. The address is made and revoked on the roster's page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse, Response

from alerts import calendar_feeds as shifts
from config.tokens import BadToken, verify_feed
from console.context import Visit, visit
from incidents import calendar_feeds

router = APIRouter(include_in_schema=False)
FORGED = "没有这个日历：地址不完整或被改动。请从控制台“值班表”页重新复制。"
REVOKED = "这个日历订阅地址已作废。请从控制台“值班表”页复制新地址，并删除旧的订阅。"


@router.api_route("/calendar/{token}.ics", methods=["GET", "HEAD"])
def feed(token: str, here: Annotated[Visit, Depends(visit)]) -> Response:
    """The shifts behind an address; no login. 304 for a program that has them already, 410 once it was revoked."""
    console = here.console
    try:
        claim = verify_feed(console.keys.links, token)
    except BadToken:
        return PlainTextResponse(here.t(FORGED), 404)
    with console.db.reading() as session:
        found = calendar_feeds.find(session, claim.feed_id)
        if found is None or int(found.made_at.timestamp()) != int(claim.made_at.timestamp()):
            return PlainTextResponse(here.t(FORGED), 404)
        left = bool(found.person) and console.bundle.roster.person(found.person) is None
        if found.revoked_at is not None or left:
            return PlainTextResponse(here.t(REVOKED), 410)
        content = shifts.document(session, console.bundle, found.person, here.now)
    tag = shifts.tag(content)
    headers = {"ETag": tag, "X-Quansheng-Document": "feed", "X-Robots-Tag": "noindex"}
    if _has(here.request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    headers["Content-Disposition"] = 'inline; filename="duty.ics"'
    return Response(content, media_type="text/calendar; charset=utf-8", headers=headers)


def _has(if_none_match: str, tag: str) -> bool:
    given = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return tag in given or "*" in given
