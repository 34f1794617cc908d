"""系统状态: what is wrong with this system itself now; where the alarms about it lead."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from alerts import alarms, rota, troubles
from console.context import Visit, member
from console.render import page
from incidents import beats

router = APIRouter(include_in_schema=False)


@router.get("/system")
def system_page(here: Annotated[Visit, Depends(member)]) -> Response:
    """What is wrong with this system itself now, since when, and when each part was last well."""
    with here.console.db.reading() as session:
        bundle = rota.in_force(session, here.console.bundle, here.now)
        found, _ = troubles.find(session, bundle, here.console.db.audit_key, here.now)
        known = beats.get_beat(session, alarms.BEAT)
        parts = [beat for beat in beats.all_beats(session) if not beat.name.startswith("cursor:")]
    since = {
        key: datetime.fromisoformat(str(entry["since"]))
        for key, entry in (known.value if known is not None else {}).items()
    }
    return page(here, "system.html", troubles=found, since=since, parts=parts)
