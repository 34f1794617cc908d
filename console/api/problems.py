"""What a script is told when something is wrong: RFC 9457 problem details with what, where, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from console.context import visit
from console.words import word
from incidents.trouble import DatabaseTrouble

MEDIA_TYPE = "application/problem+json"
#: status -> code of the problem; its title stands in console.words
CODES = {
    400: "bad-request",
    401: "not-signed-in",
    403: "forbidden",
    404: "not-found",
    405: "wrong-method",
    409: "conflict",
    413: "too-long",
    415: "wrong-media-type",
    422: "invalid",
    429: "too-many-requests",
    500: "failed",
    503: "busy",
}


class Fault(BaseModel):
    """One thing that is wrong, and where."""

    at: str = Field(description="where: `query.since`, `body.sql`, `path.number`")
    problem: str
    position: int | None = Field(None, description="0-based character in a text that cannot be understood")


class Problem(BaseModel):
    """RFC 9457: what is wrong and where."""

    type: str = Field(description="stable name of the kind of problem: `urn:quansheng:problem:invalid`")
    title: str
    status: int
    detail: str = Field(description="one sentence in the reader's language")
    errors: list[Fault] = []
    reference: str = Field("", description="number under which the operator's log tells more")


class ApiProblem(Exception):
    """A request that cannot be answered as asked. `msgid` is the Chinese sentence, `values` and `more` fill it in."""

    def __init__(
        self,
        status: int,
        msgid: str,
        *,
        at: str = "",
        position: int | None = None,
        headers: Mapping[str, str] | None = None,
        values: Mapping[str, object] | None = None,
        **more: object,
    ) -> None:
        values = {**(values or {}), **more}
        super().__init__(msgid.format(**values) if values else msgid)
        self.status = status
        self.msgid = msgid
        self.values = values
        self.at = at
        self.position = position
        self.headers = dict(headers or {})


def answer(
    request: Request,
    status: int,
    detail: str,
    *,
    faults: Sequence[Fault] = (),
    reference: str = "",
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """One problem as a response; `detail` is in the reader's language already."""
    code = CODES.get(status, "failed" if status >= 500 else "bad-request")
    problem = Problem(
        type=f"urn:quansheng:problem:{code}",
        title=_say(request, word("problem", code)),
        status=status,
        detail=detail,
        errors=list(faults),
        reference=reference,
    )
    more = {"WWW-Authenticate": 'Bearer realm="quansheng"'} if status == 401 else {}
    return JSONResponse(
        problem.model_dump(exclude_defaults=True),
        status,
        headers={**more, **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def told(request: Request, problem: ApiProblem) -> JSONResponse:
    """An ApiProblem as a response."""
    detail = _say(request, problem.msgid, **problem.values)
    faults = [Fault(at=problem.at, problem=detail, position=problem.position)] if problem.at else []
    return answer(request, problem.status, detail, faults=faults, headers=problem.headers)


def invalid(request: Request, errors: Sequence[Any]) -> JSONResponse:
    """What FastAPI found wrong with the values of a request."""
    faults = [
        Fault(at=".".join(str(part) for part in error["loc"]), problem=error["msg"]) for error in errors
    ]
    where = "、".join(dict.fromkeys(fault.at for fault in faults)) or "?"
    return answer(
        request, 422, _say(request, "请求中有不对的值：{where}。", where=where[:300]), faults=faults
    )


def _say(request: Request, msgid: str, **values: object) -> str:
    try:
        return visit(request).t(msgid, **values)
    except DatabaseTrouble:  # who asks is looked up in the database, which may be what failed
        return msgid.format(**values) if values else msgid


#: what every operation may answer beside its own answer, for OpenAPI
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, text in {
        401: "neither session nor valid token",
        403: "not for this role or scope",
        422: "a value is wrong; `errors` says where",
        429: "too many requests; `Retry-After` says how long to wait",
    }.items()
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {
        "description": "there is none, or the person may not see it",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}
