"""Promises 承诺 in an official answer: what will be done by when, with the day on which that is over.

A promise needs a time to come and a word that says it will be done (预计, 争取, 将, 承诺, 确保 ...) or a wish put on somebody (要求, 责令).
What a rule allows everybody (应当自…之日起30日内) promises nothing. Pure; working days are counted by whoever has the calendar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from analysis.spans import Span, narrow, sentences

Unit = Literal["date", "workdays", "days", "hours"]
#: a promise further away is a plan of years, or a misread number
FURTHEST = timedelta(days=366 * 6)

_N = r"(?P<n>\d{1,3}|[一二两三四五六七八九十]{1,3})"
_YEAR = r"(?P<year>\d{4}年|今年|明年|后年|本年度?|当年|去年|同年)?(?:的)?"
#: each with its reading; the first that fits at a place counts
_TIMES = re.compile(
    "|".join(
        (
            rf"{_YEAR}(?P<month_d>\d{{1,2}}|[一二三四五六七八九十]{{1,2}})月(?P<day>\d{{1,2}}|[一二三四五六七八九十]{{1,3}})[日号](?P<before_d>之前|以前|前)?",
            r"(?P<year_m>\d{4}年|今年|明年|后年|本年|当年|去年|同年)?的?(?P<m>\d{1,2}|[一二三四五六七八九十]{1,2})月(?:份)?(?P<part>底|末|初|中旬|上旬|下旬)?(?P<before_m>之前|以前|前|内)?(?!\d|份?[-—至到])",
            r"(?P<year_e>\d{4}年|今年|明年|后年|本年|当年)?(?P<year_end>年底|年末|年内|底(?=[前之，。；完建通竣投实可能全])|内(?=[完建通竣投实可能全解动开]))(?P<before_e>之前|以前|前)?",
            r"(?P<year_q>\d{4}年|今年|明年|后年|本年)?第?(?P<quarter>[一二三四1-4])季度(?:底|末)?(?:之前|以前|前|内)?",
            r"(?P<year_h>\d{4}年|今年|明年|后年|本年)?(?P<half>上半年|下半年)",
            r"(?P<feast>国庆节?|元旦|五一(?:劳动节)?)(?:节)?(?:期间)?(?:之前|以前|前)",
            r"(?P<near>本月|下月|下个月|本周|下周|月)(?P<near_end>底|末|内)?(?P<before_n>之前|以前|前)?",
            rf"{_N}(?:[-—~～－至到](?P<n2>\d{{1,3}}|[一二两三四五六七八九十]{{1,3}}))?个?(?P<unit>工作日|小时|天|日|周|星期|月)(?P<within>之内|以内|内|左右)",
            r"(?P<whole>\d{4}年|今年|明年|后年)(?!度|第|[初春夏秋冬]|招|以来|前|后|至|[-—、和])(?=[^\d，。；]{0,16}(?:完|竣|通|建|投|启|开|实|交|动|改|推|安))",
            r"(?P<soon>明天|明日|后天|次日)(?=[，。；]|[^，。；]{0,8}前|上午|下午)",
        )
    )
)
#: says that it is to come: before its time in the same sentence, or right after it
_WILL = re.compile(
    r"预计|计划(?!生育)|争取|力争|确保|(?<![即只必须务])将(?!情况|该|您|此|有关|上述|原|其中)|承诺|保证|有望|可望|拟(?:定|于|在)?|安排(?:在|于)|届时|要求|责令|责成|督促|限(?=[^，。；]{0,12}(?:前|内|期))|必须|务必|明确|定于|初定|预期|目标|即将|(?:推迟|延期|延长|调整|顺延)[至到]$|整改(?:意见|要求|措施)|可以(?=[^，。；]{0,3}(?:完|竣|通|建|解|投|实|开))|约(?=\d)|会在|会于|会尽|待|尽快|尽量|抓紧|答应|同意|商定|协商|决定|可(?=[^，。；]{0,3}(?:完|竣|通|建|解|投|实))|能(?=[^，。；]{0,3}(?:完|竣|通|建|解|投|实))|我们会|我[局办委镇]会|方能|方可(?=完)"
)
#: what is done by then
_DONE = re.compile(
    r"完成|完工|完毕|解决|整改|动工|开工|竣工|通车|建成|投入|到位|答复|回复|退还|退款|退费|退清|发放|拆除|拆迁|安装|修复|维修|改造|启动|实施|公布|公示|出台|开放|开通|开业|开学|开园|清理|清运|办结|办理|协商|验收|交付|交房|启用|恢复|搬迁|搬离|迁移|硬化|铺设|施工|建设|招标|供水|供电|供气|通水|通电|通气|亮灯|亮化|运营|运行|使用|反馈|落实|下发|付清|支付|兑付|结清|补发|兑现|进场|封顶|提质|查处|关停|关闭|停产|取缔|整治|处理|处置|更换|补栽|补植|种植|栽种|移交|组织|召开|上报|签订|确定|办好|修好|装好|全面|推进|结束|给予|予以|达到|实现|制定|编制|报批|审批|修建|推出|开展|上线|核实|调整|联系|审核|评审|摇号|送达|改正|贯通|修通|打通|开考|成立|防护|办证|搬拆|预交|预缴"
)
#: rules for everybody, and what lies behind: no promise
_RULE = re.compile(
    r"应当|应于|之日起(?<!即日起)|《|第[一二三四五六七八九十百\d]+条|规定[：:，]|以下简称|有效期|(?:办理|承诺|办结|审批|办证)时限[：:为]|[期时]限为|受理(?:后|之日)|申请(?:后|之日|人)|参保人?|缴费|报名|登录|携带|凭[^，。；]{1,10}证|领取|年满|周岁|学龄|出生|退休|工龄|补缴|户籍|每年|每月|每天|每日|每周|逐年|依法可|可以?向|有权|提起|诉讼|行政复议|上诉|不服|本网|留言|逾期"
)
_PAST = re.compile(
    r"已(?!(?:经)?(?:责令|要求|责成|督促|承诺|计划|约定|答应|同意|商定|通知))(?:经|于|在|完成|竣工|通车|投入|启动|开工|动工|建成|实施|发放|拆除|全部|按)?|曾|当时|(?<!按)原定|(?<!按)原计划|此前|之前(?=已)|截[至止]|自\d|从\d|至今|以来|开始至|了(?=[，。；]|$)"
)
#: an earlier time that no longer holds
_PUT_OFF = re.compile(r"^.*(?:推迟|延期|延长|调整|顺延)[至到]$")
#: taken back, or asked for
_NOT = re.compile(r"(?:没有|没|未|不|无法|难以)(?:承诺|保证|能|会|可能|具备|宜|再)|不可|无法|难以|并未|暂未")
#: names a time that something belongs to, not one by which it is done
_OF = re.compile(r"工资|期间|以来|份?[、及和至到]|改善|的")
_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"两": 2}
_FEASTS = {"国庆": (9, 30), "元旦": (12, 31), "五一": (4, 30)}


@dataclass(frozen=True)
class Promise:
    """What is promised by when. `unit` is `date` when `due_at` was read from the words themselves.

    `due_at` is None for working days alone: `number` of them after the answer.
    """

    text: str
    span: Span
    unit: Unit
    number: int | None
    due_at: datetime | None


def _number(word: str) -> int:
    if word.isdigit():
        return int(word)
    tens, ten, ones = word.partition("十")
    if not ten:
        return _DIGITS.get(word, 0)
    return 10 * (_DIGITS[tens] if tens else 1) + (_DIGITS.get(ones, 0) if ones else 0)


def _year(word: str | None, today: date) -> int | None:
    if not word:
        return None
    if word[:4].isdigit():
        return int(word[:4])
    return today.year + {"明年": 1, "后年": 2, "去年": -1}.get(word[:2], 0)


def _month_end(year: int, month: int) -> date:
    return date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)


def _last_day(found: re.Match[str], today: date) -> date | None:
    """The last day on which the promise is kept, None for what is no day or not to come."""
    given = found.groupdict()
    if given["day"]:
        year = _year(given["year"], today)
        return date(year or today.year, _number(given["month_d"]), _number(given["day"]))
    if given["m"] and not given["day"]:
        month, year = _number(given["m"]), _year(given["year_m"], today)
        if not 1 <= month <= 12:
            return None
        at = year or today.year
        part, before = given["part"], given["before_m"]
        if part in ("初", "上旬"):
            return date(at, month, 10)
        if part == "中旬":
            return date(at, month, 20)
        if before in ("前", "之前", "以前") and not part:
            return date(at, month, 1) - timedelta(days=1)
        return _month_end(at, month)
    if given["year_end"]:
        if given["year_end"] in ("底", "内") and not given["year_e"]:
            return None
        return date(_year(given["year_e"], today) or today.year, 12, 31)
    if given["quarter"]:
        quarter = int(given["quarter"]) if given["quarter"].isdigit() else _DIGITS[given["quarter"]]
        return _month_end(_year(given["year_q"], today) or today.year, 3 * quarter)
    if given["half"]:
        return _month_end(_year(given["year_h"], today) or today.year, 6 if given["half"][0] == "上" else 12)
    if given["feast"]:
        month, day = _FEASTS[given["feast"][:2]]
        last = date(today.year, month, day)
        return last if last >= today else last.replace(year=today.year + 1)
    if given["near"]:
        return _near(given["near"], given["near_end"], today)
    if given["whole"]:
        return date(_year(given["whole"], today) or today.year, 12, 31)
    if given["soon"]:
        return today + timedelta(days={"明": 1, "次": 1, "后": 2}.get(given["soon"][0], 0))
    return None


def _near(word: str, end: str | None, today: date) -> date | None:
    if word == "月":
        return _month_end(today.year, today.month) if end in ("底", "末") else None
    if word == "本月":
        return _month_end(today.year, today.month)
    if word in ("下月", "下个月"):
        return _month_end(today.year + today.month // 12, today.month % 12 + 1)
    sunday = today + timedelta(days=6 - today.weekday())
    return sunday if word == "本周" else sunday + timedelta(days=7)


def _end(day: date, zone: ZoneInfo) -> datetime:
    """24:00 of a day."""
    return datetime.combine(day + timedelta(days=1), time(), zone)


def _after(found: re.Match[str], at: datetime, zone: ZoneInfo) -> tuple[Unit, int, datetime | None]:
    number = _number(found["n2"] or found["n"])
    unit, today = found["unit"], at.astimezone(zone).date()
    if unit == "工作日":
        return "workdays", number, None
    if unit == "小时":
        return "hours", number, at + timedelta(hours=number)
    if unit == "月":
        month = today.month - 1 + number
        first = date(today.year + month // 12, month % 12 + 1, 1)
        day = min(today.day, _month_end(first.year, first.month).day)
        return "days", (first.replace(day=day) - today).days, _end(first.replace(day=day), zone)
    days = number * (7 if unit in ("周", "星期") else 1)
    return "days", days, _end(today + timedelta(days=days), zone)


def promises_in(text: str, published_at: datetime, zone: ZoneInfo) -> tuple[Promise, ...]:
    """The promises of an answer published then, in the order of the text; one for each time named."""
    if published_at.tzinfo is None:
        raise ValueError("the time of the answer must be aware")
    today = published_at.astimezone(zone).date()
    plain = narrow(text)
    found: list[Promise] = []
    for sentence in sentences(plain):
        words = plain[sentence.start : sentence.end]
        for match in _TIMES.finditer(words):
            promise = _promise(text, sentence, words, match, published_at, today, zone)
            if promise is not None and not any(
                (one.due_at, one.number) == (promise.due_at, promise.number) and one.text == promise.text
                for one in found
            ):
                found.append(promise)
    return tuple(found)


def _promise(
    text: str,
    sentence: Span,
    words: str,
    match: re.Match[str],
    at: datetime,
    today: date,
    zone: ZoneInfo,
) -> Promise | None:
    # "12月15日前公布结果" needs no other word, "3个工作日内公布方案" only where the clause begins with it: elsewhere it tells of rules
    begins = match.start() == 0 or words[match.start() - 1] in "，：:、"
    before = match["before_d"] or match["before_m"] or match["before_e"] or match["before_n"]
    by_itself = bool(before or (begins and (match["within"] or "")[-1:] == "内"))
    start, end = _clause(words, match, by_itself=by_itself)
    clause = words[start:end]
    ahead = words[max(0, start - 40) : match.start()]
    # what lies behind in the clause before says nothing of this time, nor does a time that was put off to this one
    near = _PUT_OFF.sub("", words[max(start, match.start() - 14) : match.start()].split("，")[-1])
    after = words[match.end() : min(len(words), match.end() + 24)].split("，")[0]
    # a bare 今年 stands in every other sentence: the word that promises has to be beside it
    heard = near if match["whole"] == "今年" else ahead
    will = by_itself or _WILL.search(heard) or _WILL.search(after[:8])
    if not will or not _DONE.search(clause) or _RULE.search(clause) or _PAST.search(near + after[:3]):
        return None
    if _NOT.search(clause) or _OF.match(after):
        return None
    unit: Unit = "date"
    number: int | None = None
    due: datetime | None
    try:
        if match["n"]:
            if words[: match.start()].endswith("后") and not words[: match.start()].endswith(
                ("今后", "会后")
            ):
                return None  # so long after something else, whose day is not told
            unit, number, due = _after(match, at, zone)
            if number == 0:
                return None
        else:
            day = _last_day(match, today)
            if day is None or day < today:
                return None
            due = _end(day, zone)
    except ValueError:  # 2月30日
        return None
    if due is not None and due - at > FURTHEST:
        return None
    span = Span(sentence.start + start, sentence.start + end)
    return Promise(text[span.start : span.end].strip(" ，、"), span, unit, number, due)


def _clause(words: str, match: re.Match[str], *, by_itself: bool) -> tuple[int, int]:
    """The part of the sentence that holds the time and what is done: from comma to comma, more where that says nothing."""
    start = max(words.rfind(mark, 0, match.start()) for mark in "，：:") + 1
    end = words.find("，", match.end())
    end = len(words) if end < 0 else end
    if not _DONE.search(words[start:end]):
        following = words.find("，", end + 1)
        end = len(words) if following < 0 else following
    if not by_itself and not _WILL.search(words[start:end]) and start > 1 and words[start - 1] == "，":
        start = max(words.rfind(mark, 0, start - 1) for mark in "，：:") + 1
    return start, end
