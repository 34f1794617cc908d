"""Fields of the query language: what they are called, what may be asked of each, and how a date is written.

A city's own names (sources, districts, departments) come from its configuration through `names_of`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from config.bundle import Bundle
from config.domains import DOMAINS
from incidents.grams import comparable

#: field -> its names, Chinese first; any of them may stand before the colon
FIELDS: dict[str, tuple[str, ...]] = {
    "domain": ("领域", "domain"),
    "district": ("区县", "地区", "district"),
    "source": ("信源", "来源", "source"),
    "tone": ("情绪", "tone"),
    "risk": ("风险", "risk"),
    "state": ("状态", "state"),
    "level": ("等级", "level"),
    "department": ("部门", "承办部门", "department"),
    "date": ("日期", "时间", "date"),
    "since": ("起始", "since"),
    "until": ("截至", "until"),
}
FIELD_OF: dict[str, str] = {comparable(name): field for field, names in FIELDS.items() for name in names}
#: fields of the incident that a post belongs to
OF_INCIDENT = frozenset(("state", "level", "department"))
_TONES = {"neg": ("负面",), "neu": ("中性",), "pos": ("正面",), "": ("未研判", "none")}
_LEVELS = {
    "general": ("一般",),
    "serious": ("较大",),
    "major": ("重大",),
    "critical": ("特别重大",),
}
_RISKS = {
    "0": ("无风险", "无", "none"),
    "1": ("低风险", "低", "low"),
    "2": ("中风险", "中", "medium"),
    "3": ("高风险", "高", "high"),
}
_STATES = {
    "watching": ("关注",),
    "detected": ("待研判", "发现"),
    "confirmed": ("属实待交办", "属实"),
    "assigned": ("已交办待签收", "交办"),
    "acknowledged": ("部门办理中", "签收", "办理中"),
    "responded": ("已回应待评估", "已回应"),
    "evaluated": ("已评估待办结", "已评估"),
    "closed": ("办结",),
    "false_alarm": ("误报",),
    "merged": ("已并入", "并入"),
}
_BETWEEN = re.compile(r"[,，、;；]")
_RANGE = re.compile(r"\.\.|~|～|至")
_COMPARED = re.compile(r"(>=|<=|>|<|≥|≤|＞|＜)(.+)")
_DAY = re.compile(r"(\d{4})(?:[-/.年](\d{1,2})(?:[-/.月](\d{1,2})日?|月)?|年)?")
_LATELY = re.compile(r"(?:近|last)?(\d{1,4})(天|日|d|周|w|小时|h)", re.IGNORECASE)
_UNITS = {"天": 24, "日": 24, "d": 24, "周": 168, "w": 168, "小时": 1, "h": 1}


class WrongValue(Exception):
    """A value that a field does not take. `at`: where it begins in what was written."""

    def __init__(self, kind: str, value: str, at: int = 0, near: str = "", listed: str = "") -> None:
        super().__init__(value)
        self.kind, self.value, self.at, self.near, self.listed = kind, value, at, near, listed


@dataclass(frozen=True)
class Names:
    """What the values of fields are called. A field that is not in `known` takes any value as its code."""

    known: Mapping[str, Mapping[str, str]]  # field -> comparable name -> code
    shown: Mapping[str, tuple[str, ...]]  # field -> names to propose
    zone: tzinfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))
    now: datetime | None = None

    @property
    def listed(self) -> str:
        """The fields, for a sentence."""
        return "、".join(names[0] for names in FIELDS.values())

    def codes(self, name: str, written: str) -> tuple[str, ...]:
        """Codes of one value or of several with commas between. Raises WrongValue for one that is none."""
        found: list[str] = []
        at = 0
        for value in _BETWEEN.split(written):
            start = at + len(value) - len(value.lstrip())
            at += len(value) + 1
            found += (
                self._risks(value.strip(), start)
                if name == "risk"
                else self._code(name, value.strip(), start)
            )
        return tuple(dict.fromkeys(found))

    def _code(self, name: str, value: str, at: int) -> list[str]:
        known = self.known.get(name)
        code = value if known is None else known.get(comparable(value))
        if code is None and known is not None:
            close = difflib.get_close_matches(comparable(value), [*known], 1, 0.5)
            near = next((one for one in self.shown[name] if close and comparable(one) == close[0]), "")
            near = near or (close[0] if close else "")
            listed = "、".join(self.shown[name][:12]) + ("……" if len(self.shown[name]) > 12 else "")
            raise WrongValue("value", value, at, near, listed)
        return [code or ""]

    def _risks(self, value: str, at: int) -> list[str]:
        given = comparable(value)
        if (compared := _COMPARED.fullmatch(given)) is not None:
            sign, bound = compared[1], self._risk(compared[2], value, at)
            return [str(n) for n in range(4) if _compare(n, sign, bound)]
        if given.endswith("+"):
            return [str(n) for n in range(self._risk(given[:-1], value, at), 4)]
        low, *high = _RANGE.split(given)
        first = self._risk(low, value, at)
        return [str(n) for n in range(first, (self._risk(high[0], value, at) if high else first) + 1)]

    def _risk(self, text: str, value: str, at: int) -> int:
        code = self.known["risk"].get(text.strip())
        if code is None:
            raise WrongValue("risk", value, at)
        return int(code)


def _compare(number: int, sign: str, bound: int) -> bool:
    if sign in (">=", "≥"):
        return number >= bound
    if sign in ("<=", "≤"):
        return number <= bound
    return number > bound if sign in (">", "＞") else number < bound


def instants(name: str, written: str, names: Names) -> tuple[int | None, int | None]:
    """Seconds since 1970 that a date, a range or 近7天 means, the end excluded. Raises WrongValue."""
    text = written.strip()
    low: int | None
    high: int | None
    if (compared := _COMPARED.fullmatch(text)) is not None:
        first, behind = _span(compared[2], names, written)
        low, high = {
            ">": (behind, None),
            "＞": (behind, None),
            "<": (None, first),
            "＜": (None, first),
        }.get(compared[1], (first, None) if compared[1] in (">=", "≥") else (None, behind))
    else:
        ends = _RANGE.split(text)
        if len(ends) > 2 or not any(end.strip() for end in ends):
            raise WrongValue("date", text)
        spans = [_span(end, names, written) if end.strip() else None for end in ends]
        low = spans[0][0] if spans[0] else None
        high = spans[-1][1] if spans[-1] else None
    if name == "since":
        high = None
    if name == "until":
        low = None
    return low, high


def _span(text: str, names: Names, written: str) -> tuple[int, int]:
    """First second of a day, month or year in the city's zone, and the first one behind it."""
    text = text.strip()
    wrong = WrongValue("date", text, max(written.find(text), 0))
    if names.now is not None:
        now = names.now.astimezone(names.zone)
        if (lately := _LATELY.fullmatch(text)) is not None:
            begin = now - timedelta(hours=int(lately[1]) * _UNITS[lately[2].lower()])
            return int(begin.timestamp()), int(now.timestamp()) + 1
        for words, back in ((("今天", "今日", "today"), 0), (("昨天", "昨日", "yesterday"), 1)):
            if text.lower() in words:
                return _days(now.date() - timedelta(days=back), 1, names)
    if (found := _DAY.fullmatch(text)) is None:
        raise wrong
    year, month, day = (int(part) if part else 0 for part in found.groups())
    try:
        first = date(year, month or 1, day or 1)
        if day:
            return _days(first, 1, names)
        behind = date(year + 1, 1, 1) if not month or month == 12 else date(year, month + 1, 1)
        return _days(first, (behind - first).days, names)
    except (ValueError, OverflowError):
        raise wrong from None


def _days(first: date, count: int, names: Names) -> tuple[int, int]:
    begin, end = (
        datetime.combine(first + timedelta(days=n), time(), names.zone).astimezone(UTC) for n in (0, count)
    )
    return int(begin.timestamp()), int(end.timestamp())


def _table(codes: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {comparable(name): code for code, names in codes.items() for name in (code, *names) if name}


def _fixed() -> dict[str, dict[str, tuple[str, ...]]]:
    return {
        "domain": {one.id: (one.zh, one.en) for one in DOMAINS},
        "tone": dict(_TONES),
        "risk": dict(_RISKS),
        "state": dict(_STATES),
        "level": dict(_LEVELS),
    }


def _names(fields: Mapping[str, Mapping[str, tuple[str, ...]]], zone: tzinfo, now: datetime | None) -> Names:
    return Names(
        {name: _table(codes) for name, codes in fields.items()},
        {name: tuple(given[0] for given in codes.values() if given) for name, codes in fields.items()},
        zone,
        now,
    )


#: names that need no configuration; no 近7天, for nobody told the time
PLAIN = _names(_fixed(), ZoneInfo("Asia/Shanghai"), None)


def names_of(bundle: Bundle, now: datetime) -> Names:
    """The names of a city: those that everybody has, and its sources, districts and departments."""
    districts = {name: (name, *_without_kind(name)) for name in bundle.places.names}
    fields = _fixed() | {
        "source": {one.id: (one.name,) for one in bundle.sources},
        "district": districts,
        "department": {
            one.id: (one.name, *one.name_2018, *one.aliases) for one in bundle.departments.departments
        },
    }
    return _names(fields, ZoneInfo(bundle.settings.city.timezone), now)


def _without_kind(name: str) -> tuple[str, ...]:
    """历下 for 历下区."""
    return (name[:-1],) if len(name) > 2 and name[-1] in "区县市" else ()
