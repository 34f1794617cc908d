"""Places and organisations named in a text, and one normal form for each.

One automaton finds the words that end a name (`小区`, `中学`, `路`, `公司`), the words that cannot be inside one, and
the city's own places from the configuration; one pass over them cuts the names out. So an unknown estate counts
too, and the cost follows the length of the text alone. A place is half of an incident's identity: `伊景园·滨河苑`,
`伊景园滨河苑小区` and `滨河苑` must meet. Anonymised administrative names such as `A7县` or `K市` are recognised as well.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import ahocorasick_rs
import rjieba

Kind = Literal[
    "district", "street", "estate", "school", "hospital", "road", "village", "organisation", "brand"
]
#: kinds that tell one matter from another; the rest only say where, and a `brand` is the same all over the country
IDENTIFYING: frozenset[str] = frozenset({"estate", "school", "hospital", "village", "organisation", "road"})
#: characters of a text that are searched: places stand early and the cost must not grow with the text
SEARCHED = 1200

_DATA = tomllib.loads((Path(__file__).parent / "place_words.toml").read_text("utf-8"))
#: what a match of the automaton means: a kind's name ends a name, the others are below
_STOP, _PASS, _CITY, _BRAND, _SUFFIX, _PHASE, _KNOWN = (
    "stop",
    "pass",
    "city",
    "brand",
    "suffix",
    "phase",
    "known",
)
_SIDE = "roadside"
#: places that need no word before them
_WHOLE: dict[str, Kind] = {"whole road": "road", "whole district": "district"}
_ROLES: dict[str, str] = {}
for _role, _words in (
    *_DATA["class_words"].items(),
    (_SIDE, _DATA["roadside"]["words"]),
    (_SUFFIX, _DATA["suffixes"]["words"]),
    (_PHASE, _DATA["phases"]["words"]),
    (_STOP, [*_DATA["stops"]["characters"], *_DATA["stops"]["words"]]),
    (_PASS, _DATA["passes"]["words"]),
    *((f"whole {kind}", words) for kind, words in _DATA["whole"].items()),
    (_BRAND, _DATA["brands"]["words"]),
    (_CITY, _DATA["cities"]["words"]),
):
    for _word in _words:
        _ROLES[_word] = _role
_GENERIC: frozenset[str] = frozenset(_DATA["generic"]["words"])
#: how long the proper part before a class word may be, by kind
_LONGEST = {
    "estate": 8, "school": 10, "hospital": 8, "road": 5, "village": 4, "organisation": 12, "street": 4,
    "district": 3, "line": 4,
}  # fmt: skip
_NAME_TAIL = re.compile(r"[\u3400-\u9fffA-Za-z0-9·•・.*]+$")
_LETTER = re.compile(r"[A-Z]\d{0,2}$")
_LINE = re.compile(r"(?:地铁|轻轨)?[A-Za-z]?\d{1,3}$")
_HEAD = re.compile(
    r"^(?:[OL](?=[\u3400-\u9fff])|[·•・.*]|\d+[#年月日号家所处段期名位级个座条]?(?=[\u3400-\u9fff])|第(?=[^一二三四五六七八九十\d]))+"
)
#: after a class word of one character these make it another word: 城管, 园林, 村民
_NOT_AFTER: dict[str, str] = {
    "城": "市管区镇乡里建投轨铁内外中际", "园": "区林长内丁艺", "府": "邸", "湾": "里", "路": "灯面边上况人网径过",
    "街": "道边上头坊", "村": "镇庄", "屯": "区县镇", "站": "在着点立岗起住务队长内姐", "镇": "静定压", "乡": "亲下村镇愁", "桥": "梁墩",
    "厂": "家房里商区长", "区": "域别分间块", "市": "场民容值价面占", "省": "钱会",
    "店": "铺面家主员", "庭": "院审", "巷": "子口", "公交": "站车线卡司出", "苑": "", "街道": "办",
}  # fmt: skip
_SURROGATES = re.compile("[\ud800-\udfff]")
_DOTS = re.compile(r"[·•・.．\s*\"'“”‘’「」『』《》〈〉\-—_]")
_TAIL = re.compile(
    r"(?:(?:小区|社区|楼盘|项目|安置房|公租房|廉租房|宿舍|有限责任公司|股份有限公司|有限公司|公司|集团|(?<=物业)服务|(?<=物业)管理"
    r"|[一二三四五六七八九十\d]+(?:期|号楼|栋|幢|单元|年级|班)|第[一二三四五六七八九十\d]+期|[东西南北]区|业主|工地|\(.*?\)))+$"
)
_ORDER = re.compile(r"第([一二三四五六七八九十]+)(?=[中小初高]|附|实验)")
_PHASE_WORD = re.compile(r"(?:[一二三四五六七八九十]+|\d+)期")


@dataclass(frozen=True)
class Place:
    """One place in a text: its kind, the words used, and the normal form that is compared."""

    kind: Kind
    name: str
    norm: str

    def as_dict(self) -> dict[str, str]:
        """What is stored with a judgement."""
        return {"kind": self.kind, "name": self.name, "norm": self.norm}


class Span(NamedTuple):
    """One mention: text[start:end] is a place. `norm` is given by the gazetteer, else it follows from the words."""

    start: int
    end: int
    kind: Kind
    norm: str = ""
    district: str = ""


#: a place of the gazetteer: kind, name, other names, district or ""
Named = tuple[Kind, str, Iterable[str], str]


class Gazetteer:
    """Known places of one city: `districts` maps a district's name to its streets' names.

    `aliases` maps a district to other names that people write; `named` are estates, schools, functional areas ...
    """

    def __init__(
        self,
        districts: Mapping[str, Iterable[str]],
        city: str = "",
        *,
        aliases: Mapping[str, Iterable[str]] | None = None,
        named: Iterable[Named] = (),
    ) -> None:
        self.city = city
        self._entries: dict[str, tuple[Kind, str, str]] = {}  # form -> kind, norm, district
        streets: dict[str, set[str]] = {}
        for district, names in districts.items():
            for name in names:
                streets.setdefault(name, set()).add(district)
        for street, owners in streets.items():
            stem = re.sub(r"(?:街道|办事处|镇|乡)$", "", street)
            owner = next(iter(owners)) if len(owners) == 1 else ""
            # a bare stem such as 大桥, 平安 or 太平 is an ordinary word
            forms = {street} | ({f"{stem}街道", f"{stem}镇", f"{stem}街道办"} if len(stem) >= 2 else set())
            for form in forms:
                self._entries[form] = ("street", street, owner)
        for district in districts:
            stem = district[:-1] if len(district) > 2 and district[-1] in "区县市" else district
            for form in {district, stem, *(aliases or {}).get(district, ())}:
                self._entries[form] = ("district", district, district)
        for kind, name, others, district in named:
            for form in {name, *others}:
                if len(form) >= 2:
                    norm = name if kind == "district" else normal_name(name)
                    self._entries[form] = (kind, norm, district)
        self._scanner = _Scanner(self._entries)

    def spans(self, text: str) -> list[Span]:
        """Every mention of a place, known or found by its pattern, in order."""
        return self._scanner.spans(text)


def _district_context(text: str, start: int, end: int) -> bool:
    """Whether a district's bare stem (天桥, 市中) means the district here."""
    after, before = text[end : end + 1], text[max(0, start - 2) : start]
    if text[start:end] in ("市中", "天桥", "钢城", "高新"):
        return after in ("区", "县")
    return (
        after in ("区", "县", "")
        or before.endswith(("市", "济南", "在"))
        or start == 0
        or not after.isalnum()
    )


class _Scanner:
    """The automaton over class words, stops and one city's own places."""

    def __init__(self, known: Mapping[str, tuple[Kind, str, str]]) -> None:
        self.known = known
        self.words = list(dict.fromkeys([*_ROLES, *known]))
        self.roles = [_KNOWN if word in known else _ROLES[word] for word in self.words]
        self._matcher = ahocorasick_rs.AhoCorasick(
            self.words, matchkind=ahocorasick_rs.MatchKind.LeftmostLongest
        )

    def spans(self, text: str) -> list[Span]:
        """Every mention of a place, in order."""
        walk = _Walk(text, self)
        stop, roles = 0, self.roles
        # four matches of five are stops: they cost one assignment
        for index, start, end in self._matcher.find_matches_as_indexes(text):
            role = roles[index]
            if role == _STOP:
                stop = end
            elif role != _PASS:
                walk.take(role, index, start, end, stop)
        return walk.found


class _Walk:
    """One pass over one text. `floor`: a name cannot begin before it. `last`: what ends there (start and role)."""

    __slots__ = ("floor", "found", "last", "scanner", "text", "town")

    def __init__(self, text: str, scanner: _Scanner) -> None:
        self.text, self.scanner = text, scanner
        self.found: list[Span] = []
        self.floor = 0
        self.last: tuple[int, str] | None = None
        self.town = (0, 0)  # the last town named without 市

    def take(self, role: str, index: int, start: int, end: int, stop: int) -> None:
        """Look at one match; `stop` is the end of the last stop before it."""
        if stop > self.floor:
            self.floor, self.last = stop, None
        word = self.scanner.words[index]
        if role == _CITY:
            joined = self.last is not None and self.last[1] == _CITY and self.floor == start
            begin = self.last[0] if joined and self.last else start
            self.floor, self.last, self.town = end, (begin, _CITY), (start, end)
        elif role == _KNOWN:
            kind, norm, district = self.scanner.known[word]
            if kind != "district" or end - start > 2 or _district_context(self.text, start, end):
                self.add(start, end, kind, norm, district)
        elif role == _BRAND:
            self.add(start, end, "brand")
        elif role in _WHOLE:
            self.add(start, end, _WHOLE[role])
        elif role == _SUFFIX:
            self.branch(word, start, end, stop)
        elif role == _SIDE:
            self.name("road", word[0], start, start + 1)
            if self.floor > start:
                self.floor, self.last = end, None
        elif (after := self.text[end : end + 1]) and after in _NOT_AFTER.get(word, ""):
            return
        elif role == "district":
            self.district(word, start, end)
        elif role == "line":
            self.line(word, start, end)
        elif role == _PHASE:
            self.phase(word, start, end)
        else:
            self.name(role, word, start, end)

    def add(self, start: int, end: int, kind: Kind, norm: str = "", district: str = "") -> None:
        """Take text[start:end] as a place, in the stead of a shorter one that begins there or later."""
        while self.found and self.found[-1].start >= start:
            self.found.pop()
        self.found.append(Span(start, end, kind, norm, district))
        self.floor, self.last = end, (start, kind)

    def shut(self, end: int) -> None:
        """No name reaches over this word."""
        self.floor, self.last = end, None

    def head(self, start: int) -> str:
        """The characters before a class word that may belong to its name."""
        head = self.text[max(self.floor, start - 16) : start]
        if head and not head.isalnum():
            tail = _NAME_TAIL.search(head)
            head = tail.group() if tail else ""
        return head

    def branch(self, word: str, start: int, end: int, stop: int) -> None:
        """某某银行 + 历山路 + 支行; 店 is also a class word of its own."""
        # the branch may be named after a road, which then is the last place found
        for before in self.found[-1:-3:-1]:
            if before.kind in _BRANCHED and before.end >= stop and start - before.end <= 6:
                self.add(before.start, end, before.kind)
                return
        if word in _SHOPS:
            self.name("organisation", word, start, end)
        else:
            self.shut(end)

    def line(self, word: str, start: int, end: int) -> None:
        """地铁7号线, 375路公交车."""
        number = _LINE.search(self.text, max(self.floor, start - 6), start + word[0].isdigit())
        if number:
            begin = number.start()
            self.add(begin - 2 * (self.text[max(0, begin - 2) : begin] == "地铁"), end, "road")
        elif word != "公交":
            self.shut(end)

    def phase(self, word: str, start: int, end: int) -> None:
        """An estate without a class word, told by its phase: 兴汝金城二期."""
        head = self.head(start)
        if self.joins(start, head):
            self.shut(end)
        elif len(head) != 2:  # 万国三期小区: the class word may follow
            proper = _proper(head)
            if 3 <= len(head) <= 7 and len(proper) >= 3 and _is_name(proper) and word != "楼盘":
                self.add(start - len(proper), start, "estate")
                self.floor = end
            else:
                self.shut(end)

    def joins(self, start: int, head: str) -> bool:
        """Whether a place or town ends where this head begins."""
        return self.last is not None and self.floor == start - len(head)

    def district(self, word: str, start: int, end: int) -> None:
        """余杭区, A7县; towns and provinces are borders only."""
        head = self.head(start)
        letter = _LETTER.search(head)
        proper = _proper(head)
        if letter:
            begin = start - len(letter.group())
            if len(letter.group()) > 1 or word in "区县":
                self.add(begin, end, "district")
            else:
                self.floor, self.last = end, (begin, _CITY)
        elif not head and self.last is not None and self.last[1] in (_CITY, "district"):
            if self.last[1] == "district" and self.text[start - 1] not in "区县市":
                self.add(self.last[0], end, "district")
            self.floor, self.last = end, self.last
        elif (
            word[-1] in "区县"
            and 3 - len(word) <= len(proper) <= 3
            and _is_name(proper)
            and proper + word[:-1] not in _GENERIC
        ):
            self.add(start - len(proper), end, "district")
        elif len(head) >= 2 and word in "市省":
            self.floor, self.last = end, (max(start - len(head), start - 3), _CITY)
        elif len(word) > 1 or word != "区":
            self.shut(end)

    def name(self, role: str, word: str, start: int, end: int) -> None:
        """A class word: cut out the name that it ends."""
        head = self.head(start)
        proper = _proper(head)
        kind: Kind = role  # type: ignore[assignment]
        if self.last is not None and self.joins(start, head):
            begin, before = self.last
            if before == "school" and role == "hospital" and len(head) <= 6:
                self.add(begin, end, kind)  # 某某大学附属医院
                return
            if (
                not proper
                or proper in _GENERIC
                or (before == role == "estate" and len(head) == 1)
                or (before == "brand" and role == "organisation" and len(head) <= 4 and word not in _SHOPS)
            ):
                # 花园 + 路, 历下区 + 中心 + 医院: the name goes on
                if _goes_on(before, role, word, head, self.text[self.floor - 1] not in "市省区县镇乡"):
                    self.add(self.official(begin, word), end, kind)
                else:
                    self.shut(end)
                return
        limit = 6 if len(word) == 1 and role == "estate" else _LONGEST[role]
        if len(proper) > limit:
            proper = _shorter(proper, limit, role)
        if len(proper) >= 2 and proper not in _GENERIC and _is_name(proper):
            self.add(self.official(start - len(proper), word), end, kind)
        elif not head and (quoted := _quoted(self.text, start)):
            self.add(start - quoted, end, kind)
        elif not head and word in _BEGINS:
            return  # 花园路, 大学路: a road may follow
        elif len(word) > 1:
            self.shut(end)

    def official(self, begin: int, word: str) -> int:
        """Where an official name begins: with the town before it (杭州某某有限公司)."""
        return self.town[0] if word.endswith(_WITH_TOWN) and self.town[1] == begin else begin


#: kinds whose branches are named after them: 某某银行历山路支行
_BRANCHED = frozenset({"organisation", "school", "hospital", "brand"})
_BEGINS = frozenset({"花园", "公园", "广场", "新村", "新城", "大学", "学院", "机场", "社区"})
_SHOPS = frozenset({"店", "旗舰店"})
#: with a bare town before them a name: 南京大学, 上海街道, 嘉兴小区
_AFTER_CITY = frozenset(
    {
        "大学",
        "学院",
        "师范大学",
        "师范学院",
        "小区",
        "花园",
        "新村",
        "公寓",
        "大厦",
        "一中",
        "二中",
        "三中",
        "外国语",
    }
)
#: of a town, with a generic word between: 甲市国际会展中心
_PUBLIC = frozenset(
    {
        "公司",
        "有限公司",
        "集团",
        "赛车场",
        "会展中心",
        "博物馆",
        "图书馆",
        "体育中心",
        "奥体中心",
        "大剧院",
        "动物园",
        "植物园",
        "机场",
    }
)
#: official names begin with their town: 杭州某某有限公司
_WITH_TOWN = ("大学", "学院", "有限公司", "有限责任公司")


def _goes_on(before: str, role: str, word: str, head: str, bare: bool) -> bool:
    """Whether a class word right after a place (and a generic word) belongs to the same name."""
    if before in (_CITY, "district", "street"):
        # 甲市人民医院; but 甲市公司 and 甲区路 are no names
        if not head:
            return bare and (role in ("road", "street") or word in _AFTER_CITY)
        if bare and len(head) == 1:
            return False  # 湖南一医院 is some hospital
        return role in ("school", "hospital") or (role == "organisation" and word in _PUBLIC)
    if before == "brand":
        return role == "organisation" and word not in _SHOPS
    if before == "road" and role == "road":
        return not head and word in (
            "大桥",
            "立交",
            "立交桥",
            "隧道",
            "高架",
            "公交站",
            "地铁站",
            "路口站",
            "高速",
            "支路",
            "辅路",
        )
    if before == "village":
        return not head and role != "village"
    return not head or role in ("school", "hospital") or before == role == "organisation"


@lru_cache(maxsize=8192)
def _proper(head: str) -> str:
    """The part of a head that names something: without counters, house numbers and dots before it."""
    return _HEAD.sub("", head)


def _is_name(proper: str) -> bool:
    return not proper.isdigit() and any(c >= "\u3400" or c.isalpha() for c in proper)


@lru_cache(maxsize=8192)
def _shorter(proper: str, limit: int, role: str) -> str:
    """The end of a head that is too long for a name, cut between words."""
    words = rjieba.cut(proper, False)
    kept = ""
    for word in reversed(words):
        if len(kept) >= 2 and (len(kept) + len(word) > limit or role in ("road", "village", "street")):
            break
        kept = word + kept
    return kept if len(kept) <= limit else kept[-limit:]


def _quoted(text: str, start: int) -> int:
    """Length of a quoted name with its marks that ends right before `start` (“鸿森”渣土运输公司), 0 if there is none."""
    if start < 4 or text[start - 1] not in "”」』":
        return 0
    opened = max(text.rfind(mark, max(0, start - 14), start - 1) for mark in "“「『")
    return start - opened if opened >= 0 and start - opened > 3 else 0


_OPEN = _Scanner({})


def find_spans(text: str, gazetteer: Gazetteer | None = None) -> list[Span]:
    """Every mention of a place in the text, in order; cities and provinces are not among them."""
    head = _SURROGATES.sub("?", text[:SEARCHED])
    return gazetteer.spans(head) if gazetteer is not None else _OPEN.spans(head)


@lru_cache(maxsize=16384)
def normal_name(name: str) -> str:
    """One form of a name: half width, no dots or quotes, no generic tail, phase or building, upper-case letters."""
    bare = _DOTS.sub("", unicodedata.normalize("NFKC", name)).upper()
    bare = bare.replace("外国语学校", "外国语").replace("附属小学", "附小").replace("附属中学", "附中")
    bare = _ORDER.sub(r"\1", bare)
    short = _TAIL.sub("", bare)
    return short if len(short) >= 2 else bare


def same_name(a: str, b: str) -> bool:
    """Whether two normal forms mean one place: equal, one the tail or head of the other (滨河苑), or a known way of
    shortening a school (济外, 山师附小). What only lies there is another place: 滨河苑 and 滨河苑幼儿园.
    """
    if a == b:
        return True
    short, long = (a, b) if len(a) <= len(b) else (b, a)
    if len(short) < 2:
        return False
    if len(short) >= 3:
        if long.endswith(short):
            return _ending(short)[0] not in _GENERIC
        if long.startswith(short):
            rest = long[len(short) :]
            kind = _ending(rest)[1]
            if kind == "school":
                return short.endswith(("实验", "外国语", "附属")) and rest in ("中学", "小学", "学校")
            return kind not in ("hospital", "road")
    return _shortened(short, long)


@lru_cache(maxsize=8192)
def _ending(norm: str) -> tuple[str, str]:
    """A name without its class word, and the kind that the class word tells ("" when there is none)."""
    for length in range(min(6, len(norm)), 0, -1):
        role = _ROLES.get(norm[-length:], "")
        if role in _LONGEST:
            return norm[:-length], role
    return norm, ""


def _shortened(short: str, long: str) -> bool:
    """济外 for 济南外国语, 山大 for 山东大学, 山师附小 for 山东师范大学附小: the same beginning, then letters of it in order."""
    if short[0] != long[0] or len(short) > 4:
        return False
    if len(short) == 2:
        return (short[1] == "外" and long.endswith("外国语")) or (
            short[1] == "大" and len(long) == 4 and long.endswith("大学")
        )
    if short[-2:] not in ("附小", "附中") or not long.endswith(short[-2:]) or "大学" not in long:
        return False
    letters = iter(long[:-2])
    return all(letter in letters for letter in short[:-2])


_place = lru_cache(maxsize=16384)(Place)


def find_places(text: str, gazetteer: Gazetteer | None) -> tuple[list[Place], list[str]]:
    """All places of a text, each once, in order, and the districts it speaks of."""
    places: dict[tuple[str, str], Place] = {}
    districts: dict[str, None] = {}
    fine: dict[str, None] = {}
    for span in find_spans(text, gazetteer):
        name = text[span.start : span.end]
        norm = span.norm or (name if span.kind == "district" else normal_name(name))
        if (span.kind, norm) not in places:
            places[span.kind, norm] = _place(span.kind, name, norm)
        if span.district:
            districts.setdefault(span.district)
        elif span.kind == "district" and not span.norm and name[0].isascii():
            fine.setdefault(norm)
    return list(places.values()), list(districts) or list(fine)
