"""A letter of supervision as PDF on A4: the text, what it rests on with hashes, who approved it, fonts embedded."""

from __future__ import annotations

from datetime import datetime
from io import BytesIO

import pylopdf_fonts_zh_cn
from fpdf import FPDF
from fpdf.enums import WrapMode, XPos, YPos

from console.context import Visit
from console.say import Say
from incidents.letters import LetterView

_GREY = (90, 90, 90)


class _Paper(FPDF):
    """A4 with who took it at the foot of each page."""

    mark = ""

    def footer(self) -> None:
        self.set_y(-14)
        self.set_font("body", size=6.5)
        self.set_text_color(*_GREY)
        self.cell(0, 4, f"{self.mark}  {self.page_no()}/{{nb}}", align="C")
        self.set_text_color(0, 0, 0)


def as_pdf(here: Visit, letter: LetterView, mark: str) -> bytes:
    """The letter with its evidence; a draft says on top that it is one."""
    say, t = Say(here), here.t
    pdf = _Paper(format="A4")
    pdf.mark = mark
    pdf.set_margins(24, 22, 24)
    pdf.set_auto_page_break(True, 20)
    pdf.add_font("body", fname=str(pylopdf_fonts_zh_cn.sans_path()))
    pdf.set_creation_date(here.now)
    pdf.set_title(f"{say.word('letter', letter.kind)} {letter.number}")
    pdf.set_lang("en" if here.lang == "en" else "zh-CN")
    pdf.add_page()

    def line(text: str, size: float = 11, *, grey: bool = False, align: str = "L") -> None:
        pdf.set_font("body", size=size)
        if grey:
            pdf.set_text_color(*_GREY)
        pdf.multi_cell(
            0,
            size * 0.62,
            "".join(
                "□" if ord(sign) > 0xFFFF else sign for sign in text if sign.isprintable() or sign == "\u3000"
            ),
            align=align,
            wrapmode=WrapMode.CHAR,
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
        )
        pdf.set_text_color(0, 0, 0)

    if letter.state != "approved":
        line(t("草稿，未经批准") if letter.state == "draft" else t("未获批准"), 10, grey=True, align="C")
    line(say.word("letter", letter.kind), 18, align="C")
    pdf.ln(6)
    line(say.department(letter.department) + ("：" if say.zh else ":"), 12)
    pdf.ln(2)
    for paragraph in letter.body:
        line(("　　" if say.zh else "") + paragraph, 12)
        pdf.ln(1)
    if letter.reply_due_at is not None:
        pdf.ln(2)
        line(t("回复期限：{due}", due=say.due(letter.reply_due_at)), 12)
    pdf.ln(4)
    if letter.decided_at is not None:
        line(
            t("批准人：{name}　{when}", name=letter.decided_by, when=say.full(letter.decided_at)[:16]),
            11,
            align="R",
        )
    pdf.ln(4)
    line(t("依据"), 11)
    for code, given in letter.evidence.items():
        line(f"【{code}】{evidence_line(say, given)}", 8, grey=True)
    out = BytesIO()
    pdf.output(out)
    return out.getvalue()


def evidence_line(say: Say, given: dict[str, str]) -> str:
    """What one citation stands for."""
    kind = given.get("kind", "")
    if kind == "incident":
        return say.here.t("事件案卷")
    if kind == "clause":
        quote = f" “{given['quote']}”" if given.get("quote") else ""
        return f"{given.get('source', '')}{quote}"
    at = say.full(datetime.fromisoformat(given["at"])) if given.get("at") else ""
    parts = [say.word("event", kind), at, say.person(given.get("actor", ""))]
    if given.get("url"):
        parts.append(given["url"])
    return " · ".join([*(part for part in parts if part), f"SHA-256 {given.get('hash', '')}"])
