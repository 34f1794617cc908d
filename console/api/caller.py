"""Who asks: a logged-in person by the console's cookie, or a script by a token; what they may ask, and how fast."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Request, Security
from fastapi.responses import Response
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from console.api.pace import Pace
from console.api.problems import ApiProblem
from console.context import COOKIE, NeedNewPassword, Visit, console_of, visit
from incidents import api_tokens
from incidents.api_tokens import SCOPES, TokenView

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="A token made on the page 接口 of the console or by `quansheng token`.",
)
cookie = APIKeyCookie(
    name=COOKIE, auto_error=False, scheme_name="session", description="The console's own session."
)


def caller(request: Request) -> Visit:
    """Whoever asks, with a session or a live token. Raises NeedLogin or ApiProblem."""
    here = visit(request)
    given = request.headers.get("authorization", "")
    if given:
        here = replace(here, session=None, half=None, token=_token(request, given, here.now))
    account = here.account
    if account.must_change:
        raise NeedNewPassword
    if here.token is None and request.scope.get("state", {}).get("cross_site"):
        raise ApiProblem(403, "请求来自其他网站，未执行。")
    name = f"token/{here.token.id}" if here.token is not None else f"account/{account.id}"
    limit = here.console.bundle.settings.api.per_minute
    turn = pace_of(request).ask(name, limit, here.now)
    request.state.rate = (limit, turn.left)
    if not turn.go:
        raise ApiProblem(
            429,
            "一分钟内的请求超过 {limit} 次，请在 {wait} 秒后再试。",
            limit=limit,
            wait=turn.wait_s,
            headers={
                "Retry-After": str(turn.wait_s),
                "RateLimit-Limit": str(limit),
                "RateLimit-Remaining": "0",
            },
        )
    return here


def _token(request: Request, given: str, now: datetime) -> TokenView:
    scheme, _, value = given.partition(" ")
    if scheme.lower() != "bearer" or not value.strip():
        raise ApiProblem(401, "Authorization 须写作 Bearer 加令牌。", at="header.authorization")
    db = console_of(request).db
    with db.reading() as session:
        token = api_tokens.find(session, value.strip())
    if token is None:
        raise ApiProblem(401, "没有这个令牌，请检查是否完整。", at="header.authorization")
    state = token.state(now)
    if state == "revoked":
        raise ApiProblem(401, "令牌已被吊销，请新建一个。", at="header.authorization")
    if state == "expired":
        raise ApiProblem(401, "令牌已过期，请新建一个。", at="header.authorization")
    if token.account.disabled:
        raise ApiProblem(401, "令牌所属的账号已停用。", at="header.authorization")
    if token.last_used_at is None or token.last_used_at + api_tokens.TOUCH_EVERY <= now:
        with db.transaction() as session:
            api_tokens.touch(session, token.id, now)
    return token


def may(here: Visit, scope: str) -> bool:
    """Whether role and token both have the scope."""
    if here.account.role not in SCOPES[scope]:
        return False
    return here.token is None or scope in here.token.scopes


def need(here: Visit, scope: str) -> None:
    """Raises ApiProblem 403 when role or token lack the scope."""
    if here.account.role not in SCOPES[scope]:
        raise ApiProblem(403, "该角色不能使用范围 {scope}。", scope=scope)
    if here.token is not None and scope not in here.token.scopes:
        raise ApiProblem(403, "令牌没有范围 {scope}，请新建一个带此范围的令牌。", scope=scope)


def needs(*scopes: str) -> Callable[..., Visit]:
    """Dependency: the caller, if they have every one of `scopes`."""

    def dependency(
        request: Request,
        _token: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)] = None,
        _cookie: Annotated[str | None, Security(cookie)] = None,
    ) -> Visit:
        here = caller(request)
        for scope in scopes:
            need(here, scope)
        return here

    return dependency


def pace_of(request: Request) -> Pace:
    """The counters of this console."""
    pace: Pace = request.app.state.api_pace
    return pace


class Tagged(APIRoute):
    """Answers to GET carry an ETag of their content; who has it already is answered 304 without a body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The usual handler, and the tag."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            if request.scope.get("state", {}).get("too_long"):
                raise ApiProblem(413, "内容太长，或没有写明长度。")
            answer = await inner(request)
            rate = getattr(request.state, "rate", None)
            if rate is not None:
                answer.headers["RateLimit-Limit"], answer.headers["RateLimit-Remaining"] = map(str, rate)
            if request.method != "GET" or answer.status_code != 200:
                return answer
            body = bytes(answer.body)
            tag = f'"{sha256(body).hexdigest()[:32]}"'
            answer.headers["ETag"] = tag
            if tag in [
                known.strip().removeprefix("W/")
                for known in request.headers.get("if-none-match", "").split(",")
            ]:
                return Response(
                    status_code=304,
                    headers={
                        name: value
                        for name, value in answer.headers.items()
                        if name in ("etag", "ratelimit-limit", "ratelimit-remaining")
                    },
                )
            return answer

        return handler
