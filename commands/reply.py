"""`quansheng reply CASE.txt REPLY.txt`: what one official answer holds, leaves open and promises, on a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from analysis.asks import CasePost
from analysis.replies import ReplyReading, read_reply
from incidents.trouble import Problem

ZONE = ZoneInfo("Asia/Shanghai")
#: bytes of a file that are read
_LONGEST = 1_000_000
_NAMES = {
    "facts": "事实核实",
    "cause": "原因",
    "measures": "已采取措施",
    "unit": "责任单位",
    "time_limit": "时限",
    "basis": "依据",
    "contact": "联系方式",
    "next_step": "下一步",
}


@dataclass(frozen=True)
class Read:
    """One answer as it was read."""

    reading: ReplyReading
    answer: str

    def as_dict(self) -> dict[str, Any]:
        """For scripts: every finding with its words."""
        r, words = self.reading, self.answer
        return {
            "coverage": r.coverage,
            "asks": [{"text": a.ask.text, "answered": a.answered, "score": a.score} for a in r.asks],
            "elements": {k: span.of(words) if span else None for k, span in r.elements.items()},
            "citations": [{"name": c.name, "article": c.article, "known": c.valid} for c in r.citations],
            "figures": [span.of(words) for span in r.figures],
            "only_referral": r.only_referral,
            "buck_passing": r.buck_passing.of(words) if r.buck_passing else None,
            "blame": r.blame.of(words) if r.blame else None,
            "courtesy": r.courtesy,
            "promises": [
                {"text": p.text, "due_at": p.due_at.isoformat() if p.due_at else None, "workdays": p.number}
                if p.unit == "workdays"
                else {"text": p.text, "due_at": p.due_at.isoformat() if p.due_at else None}
                for p in r.promises
            ],
            "explained": r.explained,
            "model": r.model,
        }

    def text(self) -> str:
        """For a person, in Chinese like the answer."""
        r, found = self.reading, self.as_dict()
        lines = [f"完整性 {sum(r.present.values())}/8"]
        lines += [
            f"  {'有' if words else '缺'}  {_NAMES[name]}" + (f"  “{words}”" if words else "")
            for name, words in found["elements"].items()
        ]
        lines.append("诉求")
        lines += [f"  {'有答复' if a['answered'] else '未找到答复'}  {a['text']}" for a in found["asks"]] or [
            "  没有读到诉求"
        ]
        lines.append("承诺")
        for p in r.promises:
            due = (
                f"{(p.due_at - timedelta(minutes=1)).astimezone(ZONE):%Y-%m-%d}"
                if p.due_at
                else f"{p.number} 个工作日"
            )
            lines.append(f"  {due}  {p.text}")
        if not r.promises:
            lines.append("  没有读到承诺")
        known = "、".join(
            f"《{c.name}》第{c.article}条" if c.article else f"《{c.name}》" for c in r.citations if c.valid
        )
        lines.append(f"有效引用  {known or '无'}")
        if r.buck_passing:
            lines.append(f"推诿  “{found['buck_passing']}”")
        elif r.only_referral:
            lines.append("只有转办，没有实质答复")
        if r.blame:
            lines.append(f"可能指责来信人  “{found['blame']}”")
        return "\n".join(lines)


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()[:_LONGEST]
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise Problem(f"{path} is not UTF-8 text; save it as UTF-8") from None


def read(case: Path, answer: Path, published: str | None, now: datetime) -> Read:
    """Read the two files. Raises Problem."""
    title, _, body = _text(case).strip().partition("\n")
    reply = _text(answer).strip()
    if not title or not reply:
        raise Problem("both files need text")
    at = now
    if published:
        try:
            at = datetime.combine(date.fromisoformat(published), time(12), ZONE)
        except ValueError:
            raise Problem(f"--published {published}: write the day as 2026-11-24") from None
    return Read(read_reply([CasePost(1, title, body)], reply, published_at=at, zone=ZONE), reply)
