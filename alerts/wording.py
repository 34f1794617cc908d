"""Times, spans and grades in the words of messages, Chinese and English."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from config.i18n import translator

LEVEL_ZH = {"general": "一般", "serious": "较大", "major": "重大", "critical": "特别重大"}
#: colour of the bar of a mail and of a Slack message; dark enough for white text
LEVEL_COLOUR = {"general": "#1f5fa8", "serious": "#9a5b00", "major": "#b3261e", "critical": "#7a0019"}
ROLE_ZH = {"primary": "主班", "secondary": "副班", "leader": "带班领导"}
_DAYS_ZH = "一二三四五六日"
_DAYS_EN = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS_EN = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Wording:
    """One language and one time zone."""

    language: str
    zone: ZoneInfo

    @property
    def english(self) -> bool:
        """Whether dates are written the English way."""
        return self.language.startswith("en")

    def __call__(self, chinese: str, **values: object) -> str:
        """The text in this language with its values filled in."""
        text = translator("alerts", self.language)(chinese)
        return text.format(**values) if values else text

    def at(self, instant: datetime) -> str:
        """ "11月24日(周二) 20:10"; a midnight belongs to the day that it ends (24:00)."""
        local = instant.astimezone(self.zone)
        clock = f"{local:%H:%M}"
        if clock == "00:00":
            local, clock = local - timedelta(minutes=1), "24:00"
        if self.english:
            return f"{local.day} {_MONTHS_EN[local.month - 1]} ({_DAYS_EN[local.weekday()]}) {clock}"
        return f"{local.month}月{local.day}日(周{_DAYS_ZH[local.weekday()]}) {clock}"

    def span(self, length: timedelta) -> str:
        """ "4小时52分"; the two largest units, never more precise than a minute."""
        minutes = max(0, int(length.total_seconds() // 60))
        days, rest = divmod(minutes, 24 * 60)
        hours, minutes = divmod(rest, 60)
        if days:
            return self("{d}天{h}小时", d=days, h=hours) if hours else self("{d}天", d=days)
        if hours:
            return self("{h}小时{m}分", h=hours, m=minutes) if minutes else self("{h}小时", h=hours)
        return self("{m}分钟", m=minutes)

    def join(self, names: Iterable[str]) -> str:
        """甲、乙、丙."""
        return (", " if self.english else "、").join(names)

    def level(self, level: str, *, proposed: bool = False) -> str:
        """一般, 较大, 重大, 特别重大; 拟定重大 while no person has confirmed it."""
        name = self(LEVEL_ZH.get(level, level))
        return self("拟定{level}", level=name) if proposed else name

    def role(self, role: str) -> str:
        """主班, 副班, 带班领导; a person's id stays."""
        return self(ROLE_ZH[role]) if role in ROLE_ZH else role

    def person(self, role: str, name: str) -> str:
        """主班林东; a person whom the route names has no role."""
        return self("{role}{name}", role=self.role(role), name=name) if role else name
