"""案卷: the case file of one incident to take along, as PDF or as JSON with the signed record. Each download is recorded."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from console import clerk, masks
from console.casefile import as_json, as_pdf
from console.context import Forbidden, Visit, member
from console.rights import complained_of
from console.views.incident import find
from console.watermark import mark
from incidents import casefile, lifecycle

router = APIRouter(include_in_schema=False)
_TYPES = {"pdf": "application/pdf", "json": "application/json"}


@router.get("/incidents/{number}/case.{form}")
def case_file(number: str, form: Literal["pdf", "json"], here: Annotated[Visit, Depends(member)]) -> Response:
    """The case file; clerks get those of their own cases."""
    incident = find(here, number)
    if here.account.role == "administrator":
        raise Forbidden("管理员不办理事件，不能下载案卷。")
    with here.console.db.transaction() as session:
        taken = lifecycle.record_act(
            session,
            "exported",
            {"kind": f"case.{form}", "number": incident.number},
            actor=here.account.login,
            channel="console",
            now=here.now,
            incident_id=incident.id,
        )
        case = casefile.collect(session, incident)
    if clerk.is_clerk(here):
        case = clerk.case_file(here, case, complained_of(here, incident))
    case = masks.case_file(here, case)
    line = mark(here, taken, incident.number)
    content = as_pdf(here, case, line) if form == "pdf" else as_json(case, here.console.bundle, line)
    return Response(
        content,
        media_type=_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="{incident.number}.{form}"'},
    )
