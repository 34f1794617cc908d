"""A letter of supervision in words, and as PDF on A4: the text, what it rests on with hashes, who approved it, fonts embedded."""

from __future__ import annotations

from datetime import datetime
from io import BytesIO

import pylopdf_fonts_zh_cn
from fpdf import FPDF
from fpdf.enums import WrapMode, XPos, YPos

from console.context import Visit
from console.say import Say
from incidents.letter_text import LetterText
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
    say = Say(here)
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

    words = text_of(here, letter)
    if words.warning:
        line(words.warning, 10, grey=True, align="C")
    line(say.word("letter", letter.kind), 18, align="C")
    pdf.ln(6)
    line(words.addressee, 12)
    pdf.ln(2)
    for paragraph in words.body:
        line(("　　" if say.zh else "") + paragraph, 12)
        pdf.ln(1)
    if words.reply:
        pdf.ln(2)
        line(words.reply, 12)
    pdf.ln(4)
    if words.approved:
        line(words.approved, 11, align="R")
    pdf.ln(4)
    line(words.annex, 11)
    for evidence in words.evidence:
        line(evidence, 8, grey=True)
    out = BytesIO()
    pdf.output(out)
    return out.getvalue()


def text_of(here: Visit, letter: LetterView, mark: str = "") -> LetterText:
    """Every line of the letter in the reader's language; `mark` tells who took it."""
    say, t = Say(here), here.t
    kind, reports = say.word("letter", letter.kind), here.console.bundle.settings.reports
    issuer = reports.issuer or here.console.bundle.settings.city.name
    local = say.local(letter.decided_at or here.now)
    warning = {"draft": t("草稿，未经批准"), "rejected": t("未获批准")}.get(letter.state, "")
    approved = ""
    if letter.decided_at is not None:
        when = say.full(letter.decided_at)[:16]
        approved = t("批准人：{name}　{when}", name=letter.decided_by, when=when)
    return LetterText(
        language=here.lang,
        mast=f"{issuer}{kind}" if say.zh else f"{issuer}: {kind}",
        issue=t("〔{year}〕　　号", year=local.year),
        number=letter.number,
        date=t("{y}年{m}月{d}日", y=local.year, m=local.month, d=local.day)
        if approved
        else t("　　年　月　日"),
        title=t("关于 {number} 的{kind}", number=letter.number, kind=kind),
        warning=warning,
        addressee=say.department(letter.department) + ("：" if say.zh else ":"),
        body=letter.body,
        reply=t("回复期限：{due}", due=say.due(letter.reply_due_at)) if letter.reply_due_at else "",
        issuer=issuer,
        approved=approved,
        annex=t("依据"),
        evidence=tuple(f"【{code}】{evidence_line(say, given)}" for code, given in letter.evidence.items()),
        foot=tuple(
            one
            for one in (
                t(
                    "本文书由系统根据记录起草，由具名人员审定；不含反映人信息（济南市12345市民服务热线条例第32条）。"
                ),
                t("本文件可编辑，内容取自系统记录中的第 {n} 版；改动不会回到系统。", n=letter.version),
                mark,
            )
            if one
        ),
    )


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
