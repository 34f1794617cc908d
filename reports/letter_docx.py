"""A letter of supervision as DOCX, on the paper of the reports: a clerk edits it in any office program."""

from __future__ import annotations

from datetime import datetime

from incidents.letter_text import LetterText
from reports.document import Block, Document
from reports.docx import as_docx


def letter_docx(letter: LetterText, at: datetime) -> bytes:
    """The letter as DOCX. `at` (local) is the time of making written into the file."""
    blocks = [
        *([Block("notice", letter.warning)] if letter.warning else []),
        Block("to", letter.addressee),
        *(Block("para", paragraph) for paragraph in letter.body),
        *([Block("para", letter.reply)] if letter.reply else []),
        Block("sign", letter.issuer),
        Block("sign", letter.date),
        *([Block("sign", letter.approved)] if letter.approved else []),
        Block("annex", letter.annex),
        *(Block("small", line) for line in (*letter.evidence, *letter.foot)),
    ]
    paper = Document(
        language=letter.language,
        mast=letter.mast,
        issue=letter.issue,
        issuer=letter.issuer,
        date=letter.date,
        title=letter.title,
        subtitle="",
        blocks=tuple(blocks),
        sender=letter.number,
    )
    return as_docx(paper, at)
