"""The description of the API for machines (OpenAPI) and for people (Swagger UI, from this console's own files)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response

from console.api.caller import caller
from console.api.problems import Problem
from console.context import Visit, member
from console.render import page

router = APIRouter(include_in_schema=False)

ABOUT = """\
Read-only JSON of the incident database: the same rows as the pages, with the same rights.

* Sign in on the console, or send `Authorization: Bearer qst_...` with a token made on the page 接口 or by `quansheng token`.
* Lists answer `items` and `next`; give `next` back as `cursor`. A cursor belongs to its list and its filters.
* Every answer carries an `ETag`; send it as `If-None-Match` and get 304 when nothing has changed.
* What is wrong comes as `application/problem+json` (RFC 9457): `detail` is the sentence, `errors` says where.
* Each token has its limit of requests in a minute; after that 429 with `Retry-After`.
* Times are ISO 8601 in UTC. Codes are English whatever the language of the console.
* Searches and readings of posts are written into the audit chain. No operation is about a person who posts.
"""


def description(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        parts = made.setdefault("components", {}).setdefault("schemas", {})
        parts.update(schema.pop("$defs", {}))
        parts["Problem"] = schema
        app.openapi_schema = made
    return app.openapi_schema


@router.get("/api/openapi.json")
def openapi(request: Request, _here: Annotated[Visit, Depends(caller)]) -> JSONResponse:
    """OpenAPI 3.1, for whoever may ask the API."""
    return JSONResponse(description(request.app))


@router.get("/api/docs")
def docs(here: Annotated[Visit, Depends(member)]) -> Response:
    """Swagger UI over it. Needs JavaScript; without it the page leads to the document itself and to docs/api.md."""
    return page(here, "apidocs.html")
