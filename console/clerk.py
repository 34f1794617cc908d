"""What a clerk of a department is shown of an incident, on pages and in files alike.

Texts are redacted before they are stored. Beyond that nothing that leads to whoever wrote or called leaves the desk: no
address of a post, no number of a work order, no message to somebody else. Posts that complain about the clerk's own
unit are left out altogether (12345条例 art. 32).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from console.context import Visit
from incidents import complained
from incidents.casefile import CaseFile
from incidents.complained import Complained, Text
from incidents.outbox import OutboxRow
from incidents.queries import EventView, IncidentView, PostView

#: events that speak of whom the matter complains about, or name posts and their sources one by one
_NOT_SHOWN = frozenset({"complained_named", "evidence_kept", "evidence_purged"})
#: letters in the making and those to other units, appeals of other units, what a reviewer named by name thinks: a clerk
#: finds the own letters and appeals on the page of accountability
_OF_SUPERVISION = ("letter_", "appeal_", "rated")


def is_clerk(here: Visit) -> bool:
    """Whether the visitor belongs to a department."""
    return here.account.role == "department"


def posts(
    here: Visit,
    incident: IncidentView,
    about: Complained,
    shown: Iterable[PostView],
    *,
    unmasked: bool = False,
) -> tuple[list[PostView], int]:
    """Posts as a clerk reads them, and how many were left out because they complain about the clerk's unit.

    `unmasked`: a second person agreed that the clerk sees addresses and numbers for a while; never the posts left out.
    """
    departments, unit = here.console.bundle.departments, here.account.department
    kept, left_out = [], 0
    for post in shown:
        text = Text(
            post.id,
            post.title,
            post.text,
            post.about,
            post.tone,
            post.districts[0] if len(post.districts) == 1 else "",
            (post.words_before,) if post.words_before else (),
        )
        said = complained.accused(departments, text, incident.district) | about.by_post.get(
            post.id, frozenset()
        )
        said -= set(about.cleared)
        if departments.touched(unit, said):
            left_out += 1
        else:
            shown_as = post if unmasked else replace(post, url="", external_id="")
            kept.append(replace(shown_as, engagement={}, words_before="", copied=()))
    return kept, left_out


def messages(here: Visit, rows: Iterable[OutboxRow]) -> list[OutboxRow]:
    """Only what was sent to the clerk's own department: others hold links that are signed for somebody else."""
    department = here.console.bundle.departments.get(here.account.department)
    own = {department.contact.email, department.contact.slack_channel} - {""} if department else set()
    return [row for row in rows if row.recipient in own]


def events(rows: Iterable[EventView]) -> list[EventView]:
    """The record without what it says of whom the matter complains about, and without the papers of supervision."""
    return [row for row in rows if row.kind not in _NOT_SHOWN and not row.kind.startswith(_OF_SUPERVISION)]


def case_file(here: Visit, case: CaseFile, about: Complained) -> CaseFile:
    """The case file for a clerk. What is left out of the events is left out of the signed ones too: the rest still proves itself."""
    kept_posts, _ = posts(here, case.incident, about, case.posts)
    kept_messages = messages(here, case.messages)
    kept_events = events(case.events)
    seqs, ids = {row.seq for row in kept_events}, {row.id for row in kept_messages}

    def of_messages(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if row["outbox_id"] in ids]

    return replace(
        case,
        posts=kept_posts,
        messages=kept_messages,
        events=kept_events,
        signed=[row for row in case.signed if row["seq"] in seqs],
        attempts=of_messages(case.attempts),
        ladders=[],
        evidence=[],
        evidence_missing=[],
    )
