"""What people see when something is wrong: one sentence on a page of ours, or problem details (RFC 9457) for /api."""

from __future__ import annotations

import logging
import secrets
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from console.api import problems
from console.api.problems import ApiProblem
from console.context import Forbidden, NeedLogin, NeedNewPassword, visit
from console.render import page
from console.security import HEADERS
from incidents.trouble import DatabaseTrouble

log = logging.getLogger("quansheng.console")

TITLES = {
    403: ("不能执行", "您没有这个权限。"),
    404: ("没有这个页面", "地址可能写错了，或事件编号不存在。"),
    405: ("操作方式不对", "这个地址不能这样使用，请从页面上的按钮操作。"),
    413: ("内容太长", "提交的内容超过了限制。"),
    422: ("内容不对", "地址或表单中有系统看不懂的内容，请检查后重试。"),
    500: ("系统出错了", "这次操作没有完成，数据没有损坏。请稍后重试。"),
    503: ("系统正忙", "数据库暂时写不进去，操作没有执行。请稍后重试。"),
}


def _is_api(request: Request) -> bool:
    # the description of the API is a page for people
    return request.url.path.startswith("/api/") and request.url.path != "/api/docs"


def error_page(request: Request, status: int, *, sentence: str = "", reference: str = "") -> Response:
    """One error, for whoever asks: problem details below /api, a page elsewhere."""
    title, usual = TITLES.get(status, TITLES[500] if status >= 500 else TITLES[422])
    here = visit(request)
    if _is_api(request):
        return problems.answer(request, status, here.t(sentence or usual), reference=reference)
    return page(
        here,
        "error.html",
        status=status,
        title=here.t(title),
        sentence=here.t(sentence or usual),
        reference=reference,
    )


def install(app: FastAPI) -> None:
    """Tell the application about every kind of error."""

    @app.exception_handler(NeedLogin)
    def need_login(request: Request, _error: Exception) -> Response:
        if _is_api(request):
            return problems.answer(
                request, 401, visit(request).t("请先登录控制台，或在 Authorization 中给出令牌。")
            )
        goal = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        address = f"/login?goal={quote(goal, safe='/')}" if request.method == "GET" else "/login"
        if request.headers.get("hx-request"):
            return Response(status_code=401, headers={"HX-Redirect": "/login"})
        return RedirectResponse(address, 303)

    @app.exception_handler(NeedNewPassword)
    def need_new_password(request: Request, _error: Exception) -> Response:
        if _is_api(request):
            return problems.answer(request, 403, visit(request).t("请先在控制台修改初始密码。"))
        return RedirectResponse("/password", 303)

    @app.exception_handler(Forbidden)
    def forbidden(request: Request, error: Exception) -> Response:
        return error_page(request, 403, sentence=error.msgid if isinstance(error, Forbidden) else "")

    @app.exception_handler(ApiProblem)
    def api_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiProblem)
        return problems.told(request, error)

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return error_page(request, error.status_code)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        if _is_api(request):
            return problems.invalid(request, error.errors())
        return error_page(request, 422)

    @app.exception_handler(Exception)
    def failed(request: Request, error: Exception) -> Response:
        # the border of a request: the person gets a number, the log gets the cause
        reference = secrets.token_hex(4)
        log.error("request failed: %s %s [%s]", request.method, request.url.path, reference, exc_info=error)
        busy = isinstance(error, DatabaseTrouble)
        try:
            answer = error_page(request, 503 if busy else 500, reference=reference)
        except Exception:  # noqa: BLE001 (the page itself needs the database, which may be what failed)
            title, sentence = TITLES[503 if busy else 500]
            answer = HTMLResponse(
                f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1><p>{sentence}<p>{reference}",
                503 if busy else 500,
            )
        # this answer is made outside the middleware that adds them otherwise
        answer.headers.update(HEADERS | {"Cache-Control": "no-store"})
        return answer
