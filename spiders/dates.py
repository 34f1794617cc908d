"""Read the times that Chinese sites print: "3分钟前", "昨天 12:30", "11-20 09:00", RFC 822, ISO 8601, epochs.

A time without a zone is local to the city (Asia/Shanghai). A month and day without a year is the newest such day that
is not in the future. A reading later than `now` + 10 minutes is refused: clocks and hand-typed dates go wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

import dateparser  # type: ignore[import-untyped]

#: how far ahead of us a source's clock may be
FUTURE_TOLERANCE = timedelta(minutes=10)
#: nothing that we read was posted before the public web came to China
EARLIEST = datetime(1995, 1, 1, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")

_NOISE = re.compile(
    r"发表于|发布于|发布时间|发布日期|更新时间|编辑于|来电时间|时间|日期|来自.*$|来源.*$|[\[\]【】()（）]|^[:：\s]+"
)
_CLOCK = r"(?:\s*(凌晨|早上|上午|中午|下午|晚上|晚)?\s*(\d{1,2})\s*[:：时点]\s*(?:(\d{1,2})\s*分?)?(?:[:：]\s*(\d{1,2})(?:\.\d+)?|(\d{1,2})秒)?)?"
_FULL = re.compile(rf"(?<!\d)(\d{{4}})\s*[-/.年]\s*(\d{{1,2}})\s*[-/.月]\s*(\d{{1,2}})\s*日?号?\s*T?{_CLOCK}")
_MONTH_DAY = re.compile(rf"(?<!\d)(\d{{1,2}})\s*[-/月]\s*(\d{{1,2}})\s*日?号?{_CLOCK}")
_DAY_WORD = re.compile(rf"(今天|今日|昨天|昨日|前天|前日){_CLOCK}")
_AGO = re.compile(
    r"(\d+|半|一|两|几)\s*个?\s*(秒|分钟|分|小时|钟头|天|日|周|星期|月|年)\s*(?:钟)?\s*(?:以)?前"
)
_ONLY_CLOCK = re.compile(rf"^{_CLOCK}$")
_COMPACT = re.compile(r"^(\d{4})(\d{2})(\d{2})(?:[T\s]?(\d{2})(\d{2})(\d{2})?)?$")
_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s?(?:Z|[+-]\d{2}:?\d{2})", re.IGNORECASE
)
_ASCTIME = re.compile(r"^[A-Z][a-z]{2} [A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d [+-]\d{4} \d{4}$")
_ZONELESS_RFC822 = re.compile(
    r"^(?:[A-Za-z]{3},?\s+)?\d{1,2}\s+[A-Za-z]{3,9}\s+\d{4}\s+\d{1,2}:\d{2}(?::\d{2})?$"
)

#: 二〇二六年十一月二十日, as notices print it; the day may stand without 日
_HAN_DAY = re.compile(
    r"([一二][零〇○O0一二三四五六七八九]{3})\s*年\s*([一二三四五六七八九十]{1,2})\s*月\s*([一二三四五六七八九十]{1,3})\s*[日号]?"
)
_HAN_DIGITS = {char: value for value, char in enumerate("〇一二三四五六七八九")} | {
    "零": 0,
    "○": 0,
    "O": 0,
    "0": 0,
}

_SECONDS = {
    "秒": 1,
    "分钟": 60,
    "分": 60,
    "小时": 3600,
    "钟头": 3600,
    "天": 86400,
    "日": 86400,
    "周": 604800,
    "星期": 604800,
    "月": 2592000,
    "年": 31536000,
}


def parse_when(raw: object, now: datetime, zone: tzinfo = SHANGHAI) -> datetime | None:
    """The instant that `raw` names, as an aware UTC time; None when it names none or one in the future.

    `raw` may be text, an epoch in seconds or milliseconds, or a datetime (naive = local to `zone`).
    """
    found = _read(raw, now.astimezone(zone), zone)
    if found is None:
        return None
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone)
    if not 1900 < found.year < 9000:  # the first and last days of the calendar exist in some zones only
        return None
    found = found.astimezone(UTC)
    return found if EARLIEST <= found <= now + FUTURE_TOLERANCE else None


def is_future(raw: object, now: datetime, zone: tzinfo = SHANGHAI) -> bool:
    """Whether `raw` is a readable time beyond `now` + 10 minutes (told in the post's provenance)."""
    found = _read(raw, now.astimezone(zone), zone)
    if found is None:
        return False
    aware = found if found.tzinfo else found.replace(tzinfo=zone)
    if not 1900 < aware.year < 9000:
        return aware.year >= 9000
    return aware > now + FUTURE_TOLERANCE


def _read(raw: object, now: datetime, zone: tzinfo) -> datetime | None:
    if isinstance(raw, datetime):
        return raw
    if isinstance(raw, bool) or raw is None:
        return None
    if isinstance(raw, int | float):
        return _epoch(raw)
    text = str(raw).strip()
    if re.fullmatch(r"\d{10}(?:\.\d+)?|\d{13}", text):
        return _epoch(float(text))
    try:
        for reader in _READERS:
            found = reader(text, now)
            if found is not None:
                return found
    except (ValueError, OverflowError):
        return None  # 2026-02-30 and its like
    return _by_library(text, now, zone)


def _epoch(value: float) -> datetime | None:
    if not -1e15 < value < 1e15:  # JSON may hold a number of four hundred digits
        return None
    seconds = value / 1000 if value > 1e11 else value
    if not 8e8 < seconds < 8e9:  # 1995 to 2223; less is a count
        return None
    return datetime.fromtimestamp(seconds, UTC)


def _iso(text: str, now: datetime) -> datetime | None:
    match = _ISO.search(text)
    return (
        datetime.fromisoformat(match.group().replace("Z", "+00:00").replace("z", "+00:00").replace(" +", "+"))
        if match
        else None
    )


def _rfc822(text: str, now: datetime) -> datetime | None:
    if _ASCTIME.match(text):
        return datetime.strptime(text, "%a %b %d %H:%M:%S %z %Y")
    if not re.match(r"^(?:[A-Za-z]{3},?\s+)?\d{1,2}\s+[A-Za-z]{3}", text):
        return None
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    # "-0000" and no zone both come back naive; a Chinese server without a zone means local time
    return found if found.tzinfo or _ZONELESS_RFC822.match(text) else found.replace(tzinfo=UTC)


def _compact(text: str, now: datetime) -> datetime | None:
    match = _COMPACT.match(text)
    if not match:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    return datetime(year, month, day, hour, minute, second, tzinfo=now.tzinfo)


def _full(text: str, now: datetime) -> datetime | None:
    match = _FULL.search(text)
    if not match:
        return None
    year, month, day = (int(part) for part in match.group(1, 2, 3))
    return datetime(year, month, day, *_clock(match, 4), tzinfo=now.tzinfo)


def _han(text: str, now: datetime) -> datetime | None:
    match = _HAN_DAY.search(text)
    if not match:
        return None
    year = int("".join(str(_HAN_DIGITS[char]) for char in match.group(1)))
    return datetime(year, _han_number(match.group(2)), _han_number(match.group(3)), tzinfo=now.tzinfo)


def _han_number(word: str) -> int:
    """1 to 99: 十一, 二十, 三十一."""
    tens, ten, ones = word.rpartition("十")
    if ten and len(tens) <= 1 and len(ones) <= 1:
        return 10 * (_HAN_DIGITS[tens] if tens else 1) + (_HAN_DIGITS[ones] if ones else 0)
    if len(word) == 1:
        return _HAN_DIGITS[word]
    raise ValueError(f"{word} is no number")


def _chinese(text: str, now: datetime) -> datetime | None:
    plain = _NOISE.sub("", text).strip()
    if plain in ("刚刚", "刚才"):
        return now
    match = _AGO.search(plain)
    if match:
        amount = {"半": 0.5, "一": 1.0, "两": 2.0, "几": 3.0}.get(match.group(1)) or float(match.group(1))
        return now - timedelta(seconds=amount * _SECONDS[match.group(2)])
    match = _DAY_WORD.search(plain)
    if match:
        day = now - timedelta(days={"今": 0, "昨": 1, "前": 2}[match.group(1)[0]])
        hour, minute, second = _clock(match, 2)
        return day.replace(hour=hour, minute=minute, second=second, microsecond=0)
    match = _MONTH_DAY.search(plain)
    if match:
        return _newest_year(int(match.group(1)), int(match.group(2)), _clock(match, 3), now)
    match = _ONLY_CLOCK.match(plain) if plain else None
    if match and match.group(2):
        hour, minute, second = _clock(match, 1)
        return now.replace(hour=hour, minute=minute, second=second, microsecond=0)
    return None


def _clock(match: re.Match[str], first: int) -> tuple[int, int, int]:
    half, hour, minute, second, second_zh = match.group(first, first + 1, first + 2, first + 3, first + 4)
    value = int(hour or 0)
    if half in ("下午", "晚上", "晚") and value < 12:
        value += 12
    return value, int(minute or 0), int(second or second_zh or 0)


def _newest_year(month: int, day: int, clock: tuple[int, int, int], now: datetime) -> datetime | None:
    for year in range(now.year, now.year - 5, -1):  # 02-29 may lie up to four years back
        try:
            found = datetime(year, month, day, *clock, tzinfo=now.tzinfo)
        except ValueError:
            continue
        if found <= now + FUTURE_TOLERANCE:
            return found
    return None


def _by_library(text: str, now: datetime, zone: tzinfo) -> datetime | None:
    """What our rules do not know (1.5 ms each). It guesses wrong on bare numbers, so it needs a word or two marks."""
    if len(text) > 80 or not re.search(r"[A-Za-z一-鿿]|\d\D\d+\D\d", text):
        return None
    settings = {"RELATIVE_BASE": now.replace(tzinfo=None), "PREFER_DATES_FROM": "past"}
    found: datetime | None = dateparser.parse(text, languages=["zh", "en"], settings=settings)
    return found


_READERS: tuple[Callable[[str, datetime], datetime | None], ...] = (
    _iso,
    _rfc822,
    _compact,
    _full,
    _han,
    _chinese,
)
