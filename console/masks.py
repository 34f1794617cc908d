"""What is masked for whom: administrators and auditors read an incident without the words of its posts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from console.context import Visit
from console.rights import MASKED
from incidents.casefile import CaseFile
from incidents.outbox import OutboxRow
from incidents.queries import IncidentView, PostView


def applies(here: Visit, incident: IncidentView) -> bool:
    """Whether this person reads the posts of this incident masked."""
    return here.account.role in MASKED


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


def messages(here: Visit, rows: Iterable[OutboxRow]) -> list[OutboxRow]:
    """Messages as this person reads them: whether they went out, not what they quote."""
    if here.account.role not in MASKED:
        return list(rows)
    return [replace(row, message={}) for row in rows]


def case_file(here: Visit, case: CaseFile) -> CaseFile:
    """The case file for whoever reads posts masked: the signed record is whole, the words are not in it."""
    if not applies(here, case.incident):
        return case
    return replace(
        case,
        posts=posts(here, case.incident, case.posts),
        messages=messages(here, case.messages),
        evidence=[],
    )
