"""The mark on every file that leaves the console: who took it, when, by which query, and where the record tells of it."""

from __future__ import annotations

from console.context import Visit
from console.say import Say
from incidents.models import IncidentEvent


def mark(here: Visit, event: IncidentEvent, what: str) -> str:
    """One line for the foot of a file; `event` is the recorded export, by whose number an auditor finds it."""
    return here.t(
        "导出人：{name}（{login}）　导出时间：{time}　内容：{what}　审计记录第 {seq} 条，请勿外传",
        name=here.account.display_name,
        login=here.account.login,
        time=Say(here).full(here.now),
        what=what,
        seq=event.seq,
    )
