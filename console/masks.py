"""What is masked for whom, and for how long it is shown when a second person agreed (incidents.unmask).

Administrators and auditors read an incident without the words of its posts; clerks read them without address and number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from console import clerk
from console.context import Visit
from console.rights import MASKED
from incidents import unmask
from incidents.casefile import CaseFile
from incidents.outbox import OutboxRow
from incidents.queries import IncidentView, PostView
from incidents.unmask import UnmaskView


def applies(here: Visit, incident: IncidentView) -> bool:
    """Whether this person reads the posts of this incident masked at this moment."""
    return here.account.role in MASKED and granted(here, incident) is None


def could_ask(here: Visit, incident: IncidentView) -> bool:
    """Whether something of this incident is masked for the person's role at all."""
    return here.account.role in MASKED or clerk.is_clerk(here)


def granted(here: Visit, incident: IncidentView) -> UnmaskView | None:
    """The agreement that lets this person see now, if there is one; looked up once for each request."""
    if not could_ask(here, incident):
        return None
    mine = request_of(here, incident)
    return mine if mine is not None and mine.holds(here.now) else None


def request_of(here: Visit, incident: IncidentView) -> UnmaskView | None:
    """The person's newest request for this incident."""
    known: dict[int, UnmaskView | None] = here.request.scope.setdefault("state", {}).setdefault("unmask", {})
    if incident.id not in known:
        with here.console.db.reading() as session:
            known[incident.id] = unmask.latest(session, incident.id, here.account.login)
    return known[incident.id]


def _blank(here: Visit, text: str) -> str:
    return here.t("（已遮蔽，{n} 字）", n=len(text)) if text else ""


def posts(here: Visit, incident: IncidentView, shown: Iterable[PostView]) -> list[PostView]:
    """Posts as this person reads them: how long the words are, not what they say, and no way to who wrote them."""
    if not applies(here, incident):
        return list(shown)
    return [
        replace(
            post,
            title="",
            text=_blank(here, post.title + post.text),
            url="",
            external_id="",
            words_before="",
            engagement={},
            copied=(),
            places=(),
        )
        for post in shown
    ]


#: the secret part of a signed link: whoever has it acts in the recipient's name
_SIGNED = re.compile(r"/(a|handover|calendar)/[\w.~=-]{16,}")


def messages(here: Visit, rows: Iterable[OutboxRow]) -> list[OutboxRow]:
    """Messages as this person reads them: for masked roles whether they went out, not what they quote.

    Nobody reads the signed links of others: an acknowledgement through one would stand in their name.
    """
    if here.account.role not in MASKED:
        return [replace(row, message=_unsigned(row.message)) for row in rows]
    return [replace(row, message={}) for row in rows]


def _unsigned(value: Any) -> Any:
    if isinstance(value, str):
        return _SIGNED.sub(r"/\1/…", value)
    if isinstance(value, dict):
        return {key: _unsigned(part) for key, part in value.items()}
    return [_unsigned(part) for part in value] if isinstance(value, list | tuple) else value


def case_file(here: Visit, case: CaseFile) -> CaseFile:
    """The case file for whoever reads posts masked: the signed record is whole, the words are not in it."""
    if not applies(here, case.incident):
        return replace(case, messages=messages(here, case.messages))
    return replace(
        case,
        posts=posts(here, case.incident, case.posts),
        messages=messages(here, case.messages),
        evidence=[],
    )
