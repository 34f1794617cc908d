"""The case file 案卷 as a document: JSON with the signed record for machines, PDF to print and to put on a table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from io import BytesIO
from typing import Any

import pylopdf_fonts_zh_cn
from fpdf import FPDF
from fpdf.enums import WrapMode, XPos, YPos
from fpdf.fonts import FontFace

from config.bundle import Bundle
from config.i18n import translator
from config.keys import Keys
from config.rules import Rule
from console.context import Console, Reader
from console.render import environment
from console.say import Say
from incidents.casefile import CaseFile
from incidents.session import Database

#: a case file to read; the JSON beside it holds every post
POSTS_PRINTED = 200
_GREY, _LINE = (90, 90, 90), (200, 200, 200)


def reader(db: Database, bundle: Bundle, keys: Keys, now: datetime, lang: str = "") -> Reader:
    """A reader who asks without a browser: the command line."""
    language = lang or bundle.settings.city.language
    console = Console(db, bundle, keys, lambda: now, environment(), {})
    return Reader(console, now, language, translator("console", language))


def as_json(case: CaseFile, bundle: Bundle, mark: str = "") -> bytes:
    """Everything, with the clause of each clock; the same case and `mark` (who took it) give the same bytes."""
    document = asdict(case)
    if mark:
        document["taken_by"] = mark
    document["rules"] = {
        rule.id: {"action": rule.action, "source": rule.source, "basis": rule.basis, "quote": rule.quote}
        for rule in bundle.rules.rules()
        if rule.id in {clock.rule_id for clock in case.deadlines}
    }
    text = json.dumps(document, ensure_ascii=False, default=_plain, indent=2, sort_keys=True)
    return text.encode()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, set | frozenset | tuple):
        return sorted(value)
    return str(value)


def as_pdf(here: Reader, case: CaseFile, mark: str = "") -> bytes:
    """The case file on A4, Chinese or English as the reader wishes, fonts embedded; `mark` says on each page who took it."""
    document = _Document(here, case)
    document.pdf.mark = mark
    return document.bytes()


class _Paper(FPDF):
    """A4 with number and page at the foot of each page."""

    foot = ""
    #: who took it, when, and where the record tells of it
    mark = ""

    def footer(self) -> None:
        if self.mark:
            self.set_y(-16)
            self.set_font("body", size=6.5)
            self.set_text_color(*_GREY)
            self.cell(0, 4, self.mark, align="C")
        self.set_y(-12)
        self.set_font("body", size=7)
        self.set_text_color(*_GREY)
        self.cell(0, 4, f"{self.foot}  {self.page_no()}/{{nb}}", align="C")
        self.set_text_color(0, 0, 0)


class _Document:
    """Writes one case file."""

    def __init__(self, here: Reader, case: CaseFile) -> None:
        self.here, self.case, self.say = here, case, Say(here)
        self.t: Callable[..., str] = here.t
        self.pdf = _Paper(format="A4")
        self.pdf.set_margins(18, 16, 18)
        self.pdf.set_auto_page_break(True, 18)
        self.pdf.add_font("body", fname=str(pylopdf_fonts_zh_cn.sans_path()))
        self.pdf.set_creation_date(here.now)
        self.pdf.set_title(f"{case.incident.number} {case.incident.title}")
        self.pdf.set_lang("en" if here.lang == "en" else "zh-CN")
        digest = hashlib.sha256(as_json(case, here.console.bundle)).hexdigest()
        self.pdf.foot = f"{case.incident.number} · SHA-256 {digest[:32]}…"
        self.digest = digest

    def bytes(self) -> bytes:
        self.pdf.add_page()
        self._head()
        self._clocks()
        self._answers()
        self._history()
        self._messages()
        self._posts()
        self._evidence()
        self._proof()
        out = BytesIO()
        self.pdf.output(out)
        return out.getvalue()

    # --- parts ---------------------------------------------------------------------------------------------------

    def _head(self) -> None:
        incident, say, t = self.case.incident, self.say, self.t
        self._line(t("事件案卷") + f"  {incident.number}", 10, grey=True)
        self._line(incident.title, 16)
        level = say.word("level", incident.level)
        if incident.why.get("level_proposed"):
            level += t("（拟定）")
        place = incident.district or self.here.console.bundle.settings.city.name
        self._pairs(
            [
                (t("状态"), say.word("state", incident.state)),
                (t("等级"), level),
                (t("领域"), say.domain(incident.domain)),
                (t("地点"), place),
                (t("承办部门"), say.department(incident.department)),
                (t("首帖"), say.full(incident.first_posted_at)),
                (t("发现"), say.full(incident.detected_at)),
                (t("规模"), t("{posts} 帖，{voices} 人发声", posts=incident.posts, voices=incident.voices)),
                (t("发现依据"), say.why(incident)),
                (t("并入本事件"), "、".join(self.case.merged)),
            ]
        )

    def _clocks(self) -> None:
        self._title(self.t("时限"))
        if not self.case.deadlines:
            self._line(self.t("没有时限"), 9)
        for clock in self.case.deadlines:
            rule = self._rule(clock.rule_id)
            state = self.say.word("clock", clock.state)
            if clock.overdue(self.here.now):
                state = self.t("超时")
            name = f"{clock.rule_id} {rule.action if rule else ''}".strip()
            if clock.incident_id != self.case.incident.id:
                name += self.t("（并入前）")
            due = self.say.full(clock.due_at) + (self.t("（暂定）") if clock.provisional else "")
            self._line(f"{name} · {state}", 10)
            self._line(
                self.t("起算 {start}，截止 {due}", start=self.say.full(clock.started_at), due=due), 8.5
            )
            if clock.closed_at:
                self._line(self.t("停止 {when}", when=self.say.full(clock.closed_at)), 8.5)
            if rule:
                self._line(f"{rule.source} “{rule.quote}”", 8, grey=True)
            for step in clock.trace:
                self._line(f"· {step}", 8, grey=True)
            self.pdf.ln(1.5)

    def _answers(self) -> None:
        kinds = ("informed", "press_held", "responded", "evaluated")
        answers = [event for event in self.case.events if event.kind in kinds]
        if not answers:
            return
        self._title(self.t("回应与评估"))
        for event in answers:
            self._line(f"{self.say.full(event.occurred_at)} {self.say.word('event', event.kind)}", 9.5)
            for line in self.say.event(event):
                self._line(line.text, 8.5, grey=True)

    def _history(self) -> None:
        self._title(self.t("全部记录"))
        rows = []
        for event in self.case.events:
            said = "\n".join(line.text for line in self.say.event(event))
            late = event.recorded_at - event.occurred_at
            noted = (
                f"\n{self.t('记入')} {self._short(event.recorded_at)}" if late.total_seconds() > 60 else ""
            )
            rows.append(
                (
                    str(event.seq),
                    self._short(event.occurred_at) + noted,
                    f"{self.say.person(event.actor)} · {self.say.word('channel', event.channel)}",
                    self.say.word("event", event.kind) + (f"\n{said}" if said else ""),
                )
            )
        self._table(
            (self.t("序号"), self.t("时间"), self.t("何人 · 渠道"), self.t("何事")), rows, (10, 38, 34, 92)
        )

    def _messages(self) -> None:
        if not self.case.messages:
            return
        self._title(self.t("消息"))
        rows = [
            (
                self._short(message.created_at),
                f"{self.say.recipient(message.recipient)} · {self.say.word('channel', message.channel)}",
                self.say.word("message_kind", message.kind),
                self.say.word("message_state", message.state)
                + (f" {self._short(message.sent_at)}" if message.sent_at else "")
                + (f"\n{message.error[:160]}" if message.error else ""),
            )
            for message in self.case.messages
        ]
        self._table((self.t("写入"), self.t("收件"), self.t("种类"), self.t("结果")), rows, (38, 52, 26, 58))

    def _posts(self) -> None:
        self._title(self.t("原帖（{n} 条）", n=len(self.case.posts)))
        if len(self.case.posts) > POSTS_PRINTED:
            self._line(self.t("以下为前 {n} 条，其余见 JSON 案卷。", n=POSTS_PRINTED), 8, grey=True)
        for post in self.case.posts[:POSTS_PRINTED]:
            head = f"{self.say.full(post.published_at)} · {self.say.source(post.source_id)}"
            self._line(head, 8, grey=True)
            self._line(" ".join(f"{post.title} {post.text}".split())[:1200], 8.5)
            if post.url:
                self._line(post.url, 7, grey=True)
            self.pdf.ln(1)

    def _evidence(self) -> None:
        """Digests of the originals; what they hold stays in the vault."""
        rows, missing = self.case.evidence, self.case.evidence_missing
        if not rows and not missing:
            return
        self._title(self.t("原始网页存证（{n} 份）", n=len(rows)))
        self._line(self.t("原件加密另存，调阅须登记理由；以下为其 SHA-256。"), 8, grey=True)
        shown = []
        for row in rows[:POSTS_PRINTED]:
            state = self.t("随帖抓取") if row["how"] == "at_fetch" else self.t("事后重新抓取")
            if row["purged_at"] is not None:
                state += "\n" + self.t(
                    "{when} 按 {rule} 销毁（记录 {seq}）",
                    when=self._short(row["purged_at"]),
                    rule=row["purge_rule"],
                    seq=row["purge_seq"],
                )
            shown.append(
                (
                    str(row["post_id"]),
                    self._short(row["fetched_at"]),
                    row["payload_sha256"],
                    f"{row['seq']}",
                    state,
                )
            )
        self._table(
            (self.t("帖号"), self.t("收到"), "SHA-256", self.t("记录号"), self.t("说明")),
            shown,
            (16, 34, 66, 18, 40),
        )
        for one in missing[:POSTS_PRINTED]:
            self._line(self.t("帖 {id} 无原件：{why}", id=one["post_id"], why=one["reason"]), 8)

    def _proof(self) -> None:
        self._title(self.t("防篡改证明"))
        head = self.case.chain_head
        lines = [
            self.t("导出时间 {when}", when=self.say.full(self.here.now)),
            self.t("记录链末端 {head}", head=f"{head.seq}:{head.hash}"),
            self.t("JSON 案卷的 SHA-256：{digest}", digest=self.digest),
            self.t("核对：quansheng audit verify --head {head}", head=f"{head.seq}:{head.hash}"),
        ]
        lines += [f"{noted['day']}  {noted['seq']}:{noted['hash']}" for noted in self.case.daily_heads]
        for line in lines:
            self._line(line, 8)

    # --- means ---------------------------------------------------------------------------------------------------

    def _short(self, at: datetime) -> str:
        """To the second, in the city's zone, which the head of the document names."""
        return self.say.full(at)[:19]

    def _rule(self, rule_id: str) -> Rule | None:
        return next((rule for rule in self.here.console.bundle.rules.rules() if rule.id == rule_id), None)

    def _title(self, text: str) -> None:
        self.pdf.ln(3)
        if self.pdf.will_page_break(20):
            self.pdf.add_page()
        self._line(text, 12)
        self.pdf.set_draw_color(*_LINE)
        self.pdf.line(self.pdf.l_margin, self.pdf.get_y(), 210 - self.pdf.r_margin, self.pdf.get_y())
        self.pdf.ln(2)

    def _line(self, text: str, size: float, *, grey: bool = False) -> None:
        self.pdf.set_font("body", size=size)
        if grey:
            self.pdf.set_text_color(*_GREY)
        # Chinese has no spaces to break at
        self.pdf.multi_cell(
            0,
            size * 0.5,
            _printable(text),
            align="L",
            wrapmode=WrapMode.CHAR,
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
        )
        self.pdf.set_text_color(0, 0, 0)

    def _pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        for label, value in pairs:
            if value:
                self._line(f"{label}{'：' if self.say.zh else ': '}{value}", 9.5)

    def _table(self, heads: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
        self.pdf.set_font("body", size=8)
        self.pdf.set_draw_color(*_LINE)
        with self.pdf.table(
            col_widths=tuple(widths),
            line_height=4,
            text_align="LEFT",
            wrapmode=WrapMode.CHAR,
            headings_style=FontFace(emphasis="", fill_color=(240, 240, 240)),
        ) as table:
            for row in (heads, *rows):
                line = table.row()
                for cell in row:
                    line.cell(_printable(cell))


def _printable(text: Any) -> str:
    """Without what no font has: control characters, and signs beyond the basic plane (emoji) as □."""
    return "".join(
        "□" if ord(sign) > 0xFFFF else sign for sign in str(text) if sign == "\n" or sign.isprintable()
    )
