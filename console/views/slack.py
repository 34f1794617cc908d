"""Presses of Slack's buttons over HTTP, for networks that Slack can reach; checked by Slack's signature, no login."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from alerts import slack_actions
from console.context import console_of

router = APIRouter(include_in_schema=False)
#: a press has a few kilobytes
_LONGEST = 100_000


@router.post("/slack/interact")
async def interact(request: Request) -> Response:
    """One press or one filled-in form."""
    console = console_of(request)
    secret = console.bundle.settings.slack.signing_secret.get_secret_value()
    body = await request.body()
    now = console.now()
    genuine = len(body) <= _LONGEST and slack_actions.verified(
        secret,
        body,
        request.headers.get("X-Slack-Request-Timestamp", ""),
        request.headers.get("X-Slack-Signature", ""),
        now,
    )
    if not genuine:
        return JSONResponse({"error": "signature"}, 401)
    try:
        payload = slack_actions.parse(parse_qs(body.decode()).get("payload", [""])[0])
    except ValueError:
        return JSONResponse({"error": "payload"}, 400)
    reply = await run_in_threadpool(
        slack_actions.handle, console.db, console.bundle, console.keys, payload, now
    )
    await run_in_threadpool(slack_actions.answer, console.bundle, reply)
    return JSONResponse(slack_actions.submission_answer(reply) or {})
