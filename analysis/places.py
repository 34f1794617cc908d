"""Places and organisations named in a text, and one normal form for each.

Districts and streets come from the gazetteer of the configuration; estates, schools, hospitals, roads,
villages and organisations are found by the pattern of Chinese names (a proper part and a class word), so an
unknown estate counts too. A place is half of an incident's identity: `伊景园·滨河苑`, `伊景园滨河苑小区` and
`滨河苑` must meet. Anonymised administrative names such as `A7县` or `K市` are recognised as well.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ahocorasick_rs

Kind = Literal["district", "street", "estate", "school", "hospital", "road", "village", "organisation"]
#: kinds that tell one matter from another; the rest only say where
IDENTIFYING: frozenset[str] = frozenset({"estate", "school", "hospital", "village", "organisation", "road"})
#: characters of a text that are searched: places stand early and the cost must not grow with the text
SEARCHED = 1200

_DATA = tomllib.loads((Path(__file__).parent / "place_words.toml").read_text("utf-8"))
_CLASS_WORDS: dict[str, Kind] = {word: kind for kind, words in _DATA["class_words"].items() for word in words}
_NAME = re.compile(
    "(?:" + "|".join(sorted(map(re.escape, _CLASS_WORDS), key=len, reverse=True)) + ")(?<!政府)(?<!住宅)"
)
_RUN = re.compile(r"[\u4e00-\u9fffA-Za-z0-9·•・.]{2,}")
_DOTS = re.compile(r"[·•・.\s]")
_ANON = re.compile(r"(?<![A-Za-z0-9])[A-Z]\d{0,2}(?:市|区|县|省)")
#: what cannot be inside a proper name: everything up to and including the last of these is cut away
_CUT = re.compile(
    r".*(?:[省市县区](?!政|场|域|间)|街道|社区(?=.)|小区(?=.)|[乡镇](?!中|政)|位于|坐落|座落|居住在|住在|就读于|毕业于|来自|"
    r"导致|造成|影响|严重|违反|享受|严禁|难道|相信|感谢|私自|擅自|强烈|其中|一趟|一个|两个|可否|能否|是否|如何|为何|什么|怎么|增开|处理|"
    r"解决|结果|当地|当时|消失|目前|目睹|每个|整治|取缔|治理|规划|配套|明知|公交线|快速|断头|政府|办事处|商品房|定向|"
    r"关于|投诉|举报|反映|反应|反馈|咨询|建议|请问|询问|希望|要求|请求|恳请|呼吁|紧急|再次|实名|严查|彻查|拯救|质疑|购买|"
    r"我是|我们|本人|我家|家住|他们|你们|大家|业主|居民|市民|村民|家长|学生|附近|旁边|对面|旁|以及|或者|还有|因为|由于|"
    r"[在从到于是的了我你他她它们与及或被把让向对为至往由若这那该本某各每有没无不未请问去来进出沿经过说称叫给使将但而且因所以就都也还"
    r"和跟、吗呢吧啊])"
)
_HEAD = re.compile(
    r"^(?:一个|一家|这个|那个|某个|整个|部分|所有|全部|其他|其它|新建|在建|老旧|违规|违法|非法|开发商|楼盘|项目|建设|物业|无良|黑心|年|月|日|号|个|家|所|处|条|段|座|栋|期|名|位)+"
)
_GENERIC: frozenset[str] = frozenset(_DATA["generic"]["words"])
_TAIL = re.compile(r"(?:小区|社区|楼盘|项目|安置房|公租房|廉租房|宿舍|有限公司|有限责任公司|公司|集团)$")


@dataclass(frozen=True)
class Place:
    """One place in a text: its kind, the words used, and the normal form that is compared."""

    kind: Kind
    name: str
    norm: str

    def as_dict(self) -> dict[str, str]:
        """What is stored with a judgement."""
        return {"kind": self.kind, "name": self.name, "norm": self.norm}


class Gazetteer:
    """Known districts and streets of one city: `districts` maps a district's name to its streets' names."""

    def __init__(self, districts: Mapping[str, Iterable[str]], city: str = "") -> None:
        self.city = city
        self._entries: list[tuple[Kind, str, str]] = []  # kind, norm, district
        patterns: list[str] = []
        streets: dict[str, set[str]] = {}
        for district, names in districts.items():
            for name in names:
                streets.setdefault(name, set()).add(district)
        for district in districts:
            stem = district[:-1] if len(district) > 2 and district[-1] in "区县市" else district
            for form in {district, stem}:
                patterns.append(form)
                self._entries.append(("district", district, district))
        for street, owners in streets.items():
            stem = re.sub(r"(?:街道|办事处|镇|乡)$", "", street)
            district = next(iter(owners)) if len(owners) == 1 else ""
            # a bare stem such as 大桥, 平安 or 太平 is an ordinary word
            forms = {street} | ({f"{stem}街道", f"{stem}镇", f"{stem}街道办"} if len(stem) >= 2 else set())
            for form in forms:
                patterns.append(form)
                self._entries.append(("street", street, district))
        self._patterns = patterns
        self._matcher = (
            ahocorasick_rs.AhoCorasick(patterns, matchkind=ahocorasick_rs.MatchKind.LeftmostLongest)
            if patterns
            else None
        )

    def find(self, text: str) -> tuple[list[Place], list[str]]:
        """Known places in the text and the districts they lie in, each once, in order."""
        places: dict[Place, None] = {}
        districts: dict[str, None] = {}
        if self._matcher is not None:
            for index, start, end in self._matcher.find_matches_as_indexes(text):
                kind, norm, district = self._entries[index]
                bare = end - start == 2 and kind == "district"
                # 市中, 天桥 and the like mean a district only before 区 or at the start of an address
                if bare and not _district_context(text, start, end):
                    continue
                places.setdefault(Place(kind, text[start:end], norm))
                if district:
                    districts.setdefault(district)
        return list(places), list(districts)


def _district_context(text: str, start: int, end: int) -> bool:
    after, before = text[end : end + 1], text[max(0, start - 2) : start]
    if text[start:end] in ("市中", "天桥", "钢城", "高新"):
        return after in ("区", "县")
    return (
        after in ("区", "县", "")
        or before.endswith(("市", "济南", "在"))
        or start == 0
        or not after.isalnum()
    )


def normal_name(name: str) -> str:
    """One form of a name: no dots, no generic tail, upper-case letters."""
    bare = _DOTS.sub("", name).upper()
    short = _TAIL.sub("", bare)
    return short if len(short) >= 2 else bare


def find_names(text: str) -> list[Place]:
    """Estates, schools, roads, organisations ... found by the pattern of their names, each once, in order."""
    found: dict[str, Place] = {}
    for run in _RUN.finditer(text[:SEARCHED]):
        piece = run.group()
        last_end = 0
        for match in _NAME.finditer(piece):
            start = max(last_end, match.start() - 10)
            head = piece[start : match.start()]
            cut = _CUT.match(head)
            proper = head[cut.end() :] if cut else head
            proper = _HEAD.sub("", proper).strip("·•・.")
            word = match.group()
            kind = _CLASS_WORDS[word]
            if len(proper) < 2 or proper in _GENERIC or proper.isdigit():
                continue
            if len(word) == 1 and kind == "estate" and len(proper) > 6:
                continue
            if kind == "road" and len(proper) > 5:
                proper = proper[-4:]
            place = Place(kind, proper + word, normal_name(proper + word))
            found.setdefault(place.norm, place)
            if len(word) > 1 or kind != "estate":
                last_end = match.end()
    return _longest(list(found.values()))


def _longest(places: list[Place]) -> list[Place]:
    """Drop a name that only is a part of a longer one of the same kind (伊景园 in 伊景园滨河苑)."""
    return [
        place
        for place in places
        if not any(
            other is not place
            and place.norm != other.norm
            and place.norm in other.norm
            and place.kind == other.kind
            for other in places
        )
    ]


def find_anonymous(text: str) -> list[Place]:
    """Masked administrative names (A市, A7县) of anonymised complaint collections."""
    return [Place("district", name, name) for name in dict.fromkeys(_ANON.findall(text[:SEARCHED]))]


def same_name(a: str, b: str) -> bool:
    """Whether two normal forms mean one place: equal, or one is the tail or head of the other (滨河苑)."""
    if a == b:
        return True
    short, long = (a, b) if len(a) <= len(b) else (b, a)
    return len(short) >= 3 and (long.endswith(short) or long.startswith(short))


def find_places(text: str, gazetteer: Gazetteer | None) -> tuple[list[Place], list[str]]:
    """All places of a text and the districts it speaks of."""
    known, districts = gazetteer.find(text[:SEARCHED]) if gazetteer is not None else ([], [])
    anonymous = find_anonymous(text)
    fine = [place.norm for place in anonymous if place.norm[1:2].isdigit()]
    return [*known, *anonymous, *find_names(text)], districts or fine
