"""One letter of supervision 督办文书: drafted from a step or as praise, edited, approved or rejected, received, answered, printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import RedirectResponse, Response

from console import accountable, letter_paper
from console import letters as writer
from console.context import Forbidden, RowId, Visit, member
from console.forms import Posted, own_form
from console.render import page
from console.say import Say
from console.views.accountability import DECIDERS, need_decider, sentence, show, visible
from console.watermark import mark
from incidents import accountability, letters, lifecycle
from incidents.letters import LetterView
from incidents.session import Session
from incidents.states import Refused
from spiders.redact import redact

router = APIRouter(include_in_schema=False)
#: who lets letters from L6 on, and praise, go out
HIGH = frozenset({"leader"})
READERS = DECIDERS | {"auditor"}
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def _may_decide(here: Visit, letter: LetterView) -> bool:
    high = letter.rank >= accountability.GROUNDED_FROM or letter.kind == "praise"
    return here.account.role in (HIGH if high else DECIDERS)


def _find(here: Visit, session: Session, letter_id: int) -> LetterView:
    """The letter, if the person may read it: a clerk only what went out to the own unit."""
    found = letters.get(session, letter_id)
    if found is None or visible(here, session, found.incident_id) is None:
        raise HTTPException(404)
    if here.account.role == "department":
        if found.department != here.department or found.state != "approved":
            raise HTTPException(404)
    elif here.account.role not in READERS:
        raise Forbidden("您的角色不能查看问责页。")
    return found


@router.post("/accountability/letters")
def draft(here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]) -> Response:
    """Draft a letter from a step of the ladder, or praise for a case."""
    need_decider(here)
    kind, made = form.text("kind", 12), 0
    try:
        with here.console.db.transaction() as session:
            made = _draft(here, session, form, kind)
    except Refused as refusal:
        return show(here, form.text("period", 16), status=409, error=sentence(here, refusal), draft=form)
    return RedirectResponse(f"/accountability/letters/{made}?done=drafted", 303)


def _draft(here: Visit, session: Session, form: Posted, kind: str) -> int:
    if kind == "praise":
        number = form.text("number", 24)
        incident = visible(here, session, number) if number else None
        if incident is None:
            raise Refused("没有这个事件。", f"there is no incident {number}")
        said, key, unit = writer.of_praise(here, session, incident), "", incident.department
    else:
        step = accountability.get(session, form.integer("step") or 0)
        incident = visible(here, session, step.incident_id) if step is not None else None
        if step is None or incident is None:
            raise Refused("没有这项建议。", "there is no such step")
        said, key, unit = writer.of_step(here, session, incident, step, kind), step.key, step.department
    return letters.draft(
        session,
        incident_id=incident.id,
        kind=kind,
        department=unit,
        proposal_key=key,
        body=said.body,
        evidence=said.evidence,
        by=here.account.login,
        channel="console",
        now=here.now,
    )


def _page(
    here: Visit, letter_id: int, *, status: int = 200, error: str = "", typed: Posted | None = None
) -> Response:
    with here.console.db.reading() as session:
        letter = _find(here, session, letter_id)
        versions = letters.versions(session, letter) if here.account.role != "department" else []
    say = Say(here)
    return page(
        here,
        "letter.html",
        status=status,
        error=error,
        letter=letter,
        versions=versions,
        lines=[(code, letter_paper.evidence_line(say, given)) for code, given in letter.evidence.items()],
        may_edit=letter.state == "draft" and here.account.role in DECIDERS,
        may_decide=letter.state == "draft" and _may_decide(here, letter),
        may_reply=letter.state == "approved" and here.account.role in DECIDERS | {"department"},
        typed=typed or {},
        done=here.done,
    )


@router.get("/accountability/letters/{letter_id}.pdf")
def letter_pdf(letter_id: RowId, here: Annotated[Visit, Depends(member)]) -> Response:
    """The letter to print; who took it stands in the record and at the foot of each page."""
    letter, taken = _taken(here, letter_id, "pdf")
    return _file(letter, "pdf", "application/pdf", letter_paper.as_pdf(here, letter, taken))


@router.get("/accountability/letters/{letter_id}.docx")
def letter_docx(letter_id: RowId, here: Annotated[Visit, Depends(member)]) -> Response:
    """The letter to edit; who took it stands in the record and at its end."""
    set_it = here.console.letter_docx
    if set_it is None:
        raise HTTPException(404)
    letter, taken = _taken(here, letter_id, "docx")
    words = letter_paper.text_of(here, letter, taken)
    return _file(letter, "docx", DOCX, set_it(words, here.now.astimezone(here.console.zone)))


def _taken(here: Visit, letter_id: int, form: str) -> tuple[LetterView, str]:
    """The letter, and the mark of its taking, which is recorded."""
    with here.console.db.transaction() as session:
        letter = _find(here, session, letter_id)
        taken = lifecycle.record_act(
            session,
            "exported",
            {"kind": f"letter.{form}", "number": letter.number, "letter": letter.id},
            actor=here.account.login,
            channel="console",
            now=here.now,
            incident_id=letter.incident_id,
        )
        return letter, mark(here, taken, letter.number)


def _file(letter: LetterView, form: str, media: str, content: bytes) -> Response:
    name = quote(f"{letter.number}-{letter.kind}-{letter.id}.{form}")
    return Response(
        content, media_type=media, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


@router.get("/accountability/letters/{letter_id}")
def letter_page(letter_id: RowId, here: Annotated[Visit, Depends(member)]) -> Response:
    """One letter to read, to print and to work on."""
    return _page(here, letter_id)


def _act(
    here: Visit, letter_id: int, form: Posted, act: Callable[[Session, LetterView], object], done: str
) -> Response:
    """Carry out what a form asks for; a refusal shows the page again with what was typed."""
    try:
        with here.console.db.transaction() as session:
            act(session, _find(here, session, letter_id))
    except Refused as refusal:
        return _page(here, letter_id, status=409, error=sentence(here, refusal), typed=form)
    return RedirectResponse(f"/accountability/letters/{letter_id}?done={done}", 303)


@router.post("/accountability/letters/{letter_id}/edit")
def edit(
    letter_id: RowId, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Another version; each line a paragraph."""
    need_decider(here)

    def act(session: Session, letter: LetterView) -> None:
        letters.edit(
            session,
            letter.id,
            body=form.text("body", 8000).replace("\r", "").split("\n"),
            version=form.integer("version") or 0,
            by=here.account.login,
            channel="console",
            now=here.now,
        )

    return _act(here, letter_id, form, act, "edited")


@router.post("/accountability/letters/{letter_id}/decide")
def decide(
    letter_id: RowId, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Let it go out, or reject it. An order's time to answer begins."""

    def act(session: Session, letter: LetterView) -> None:
        if not _may_decide(here, letter):
            raise Forbidden("您的角色不能决定这一级措施。")
        days = here.console.bundle.settings.accountability.reply_days
        due = accountable.working_days(here, days, here.now, "P15")
        letters.decide(
            session,
            letter.id,
            approve=form.get("decision") == "approve",
            name=form.text("approver", 60),
            reason=redact(form.text("reason")).text,
            version=form.integer("version") or 0,
            reply_due_at=due.due_at,
            provisional=due.provisional,
            trace=due.trace,
            by=here.account.login,
            channel="console",
            now=here.now,
        )

    return _act(here, letter_id, form, act, "letter_decided")


@router.post("/accountability/letters/{letter_id}/receive")
def receive(
    letter_id: RowId, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """The department, or supervision for it, enters that it was received."""
    return _by_party(
        here, letter_id, form, letters.receive, "letter_received", person=form.text("person", 60)
    )


@router.post("/accountability/letters/{letter_id}/answer")
def answer(
    letter_id: RowId, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """The department, or supervision for it, enters the answer."""
    said = {"text": redact(form.text("text")).text, "url": form.text("url", 500)}
    return _by_party(here, letter_id, form, letters.answer, "letter_answered", **said)


def _by_party(
    here: Visit, letter_id: int, form: Posted, enter: Callable[..., object], done: str, **said: str
) -> Response:
    """What the department, or supervision for it, enters about a letter that went out."""
    if here.account.role not in DECIDERS | {"department"}:
        raise Forbidden("您的角色不能执行此操作。")

    def act(session: Session, letter: LetterView) -> None:
        enter(session, letter.id, **said, by=here.account.login, channel="console", now=here.now)

    return _act(here, letter_id, form, act, done)
