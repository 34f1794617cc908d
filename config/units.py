"""Which units a text complains about, found by their names of 2018 and now.

A name alone is no complaint: "请教育局查一查" asks the unit for help, "教育局宿舍" is a place. A unit counts as
complained of when the text accuses it in so many words (投诉市城管局; 城管局不作为; 向城管局反映多次没人管), or when the
judgement says that the post is about an office and names it without asking it for anything. A bureau of a district
(历下区教育局) belongs to the district's government, unless departments.yaml lists it by itself.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

#: characters of a text that are read: the beginning says whom it is about
READ = 1500
#: a fault belongs to the nearest unit or other subject before it, no further away than this
_REACH = 30
_QUOTE = 60

_SENTENCE = re.compile(r"[^。！？!?；;\n]+")
#: after a name these make it a place or another word: 教育局宿舍, 金融办法
_PLACE_AFTER = re.compile(
    r"(?:家属|宿舍|小区|附近|对面|门口|门前|旁|路口|站|大楼|楼下|以[东西南北]|[东西南北][侧边门路]|幼儿园|小学|家属院)"
)
_OTHER_WORD = {"委": "员托任", "局": "面势限部", "办": "法理公事案学", "厅": "堂", "府": "邸", "管": "理道"}
_PARTS = "小社园景片校库地城市新街厂矿"

#: right before a name, with nothing but these words between
_ACCUSES = re.compile(
    r"(?:(?:被|所)?(?:投诉|举报|控告|检举|状告|告发|起诉)(?:的?(?:对象|单位|部门|机关))?|曝光|谴责|质疑|追究|问责|不满)"
    r"(?:一下|的是|[为是了])?[:：“\"《\s]*(?:一下)?$"
)
_ASKS = re.compile(
    r"(?:请|求|望|盼|建议|呼吁|感谢|谢谢|多亏|麻烦|拜托|期待|需要|敦促|应由|应该由|能否由|由|表扬|点赞|以|通过|根据|依据|按照)(?:相关|有关|贵|咱们?|我们|咱)?[“\"\s]*$"
)
_RECEIVES = re.compile(
    r"(?:向|找|给|跟|和|与|到|去|问|打|致电|联系|拨打|至|上报|提交|报给|告知|[报诉映馈]了?)(?:了|过|相关|有关|当地)?[“\"\s]*$"
)
_NO_ANSWER = (
    r"不作为|推诿|推脱|推来推去|踢皮球|扯皮|敷衍|不管不问|不闻不问|不管(?![怎如是什白多谁在你我天刮])|没人管|没有人管|无人管|"
    r"无人问津|没人理|不理不睬|不予理睬|置之不理|置若罔闻|不回复|不答复|不回应|不受理|不处理|不解决|不予受理|"
    r"(?:没有?|未|无)(?:任何|得到|给予|做出|作出|予以)*(?:答复|回复|回应|下文|结果|处理|解决|反馈)|无果|未果|石沉大海|拒不|拒绝|互相推"
)
_FAULTS = (
    rf"{_NO_ANSWER}|乱作为|慢作为|懒政|包庇|袒护|失职|渎职|玩忽职守|乱收费|乱罚款|官官相护|官商勾结|吃拿卡要|索贿|受贿|保护伞|"
    r"违法行政|违规审批|滥用职权|以权谋私|暴力执法|粗暴执法|野蛮执法|选择性执法|态度恶劣|态度极差|态度差|态度蛮横|"
    r"监管不力|监管缺失|监管不到位|办事拖拉|效率低下|欺骗|忽悠|糊弄"
)
_NO_ANSWER_WORD, _FAULT_WORD = re.compile(_NO_ANSWER), re.compile(_FAULTS)
#: whom a fault may belong to instead of a unit
_SUBJECT = re.compile(
    r"物业|学校|校方|幼儿园|开发商|公司|企业|老板|商家|商户|店家|医院|食堂|工厂|中介|机构|平台|工地|业委会|居委会|村委会|"
    r"社区|街道办|施工方|房东|园长|校长|派出所|业主|司机|摊贩|商贩"
)
#: what joins units that are named together
_TOGETHER = re.compile(r"[、，,/和与及跟或]{1,2}")
_WISHED = re.compile(r"(?:不要|别|勿|不能再|不得|杜绝|避免|防止|切莫)(?:再|一味|总是)?$")


@dataclass(frozen=True)
class Complaint:
    """One unit that a text complains about: its id, its name as it is written, and the sentence.

    `plain`: the text accuses it in so many words; otherwise the judgement says that the post is about an office.
    """

    unit: str
    written: str
    quote: str
    plain: bool


class Named(NamedTuple):
    """What the reader has to know of one department."""

    id: str
    kind: str
    names: tuple[str, ...]
    aliases: tuple[str, ...]
    districts: tuple[str, ...]


class _Mention(NamedTuple):
    start: int
    end: int
    before: int  # where the place in front of the name begins
    unit: str


class UnitReader:
    """Reads whom texts complain about, by the names of one departments.yaml.

    `elsewhere`: names that make a following 教育局 another place's (省, 青岛); `city`: how the own city is written.
    """

    def __init__(
        self, units: Sequence[Named], *, elsewhere: Iterable[str] = (), city: Iterable[str] = ()
    ) -> None:
        self._own = {city_name for city_name in city if city_name}
        self._of_name: dict[str, str] = {}
        self._of_place: dict[str, str] = {}
        for unit in units:
            self._learn(unit)
        names = sorted(
            {*self._of_name, "区政府", "县政府", "区人民政府", "县人民政府"}, key=len, reverse=True
        )
        self._names = re.compile("|".join(map(re.escape, names)))
        self._districts = _ends_with(self._of_place, "(?:的)?")
        self._elsewhere = _ends_with(elsewhere, "(?:省|市|州)?")
        self._city = _ends_with({*self._own, "市", "市委", "本市", "我市", "咱市"}, "(?:的)?")
        self.read = lru_cache(maxsize=4096)(self._read)

    def _learn(self, unit: Named) -> None:
        if unit.kind in ("district", "area"):
            for name in (*unit.names, *unit.aliases):
                self._of_name.setdefault(name, unit.id)
                place = re.sub(r"(?:人民政府|政府|管委会)$", "", name)
                if unit.kind == "area":
                    self._of_place.setdefault(place, unit.id)
                for own in sorted(self._own, key=len, reverse=True):
                    place = place.removeprefix(own)
                if unit.kind == "area" and len(place) > 2:
                    self._of_place.setdefault(place, unit.id)
                    self._of_name.setdefault(f"{place}管委会", unit.id)
            for district in unit.districts if unit.kind == "district" else ():
                short = district[:-1] if len(district) > 2 else district
                self._of_place |= {district: unit.id, short: unit.id, f"{short}市": unit.id}
                for form in ("政府", "人民政府"):
                    self._of_name.setdefault(f"{district}{form}", unit.id)
            return
        for alias in unit.aliases:  # as they are: 市场监管局 begins with no 市 of its own
            self._of_name.setdefault(alias, unit.id)
        for name in unit.names:
            # 2018 or now, people leave the city out: 市教育局 is written 教育局 and 济南市教育局
            bare = name
            for own in (*sorted(self._own, key=len, reverse=True), "市委", "市"):
                if bare.startswith(own):
                    bare = bare.removeprefix(own)
                    break
            self._of_name.setdefault(bare if len(bare) > 2 else name, unit.id)

    def complaints(
        self, title: str, text: str, *, about: str = "", district: str = ""
    ) -> tuple[Complaint, ...]:
        """Units that a post complains about, each once, a plain accusation before the rest.

        `about` is the judgement's word for whom the complaint is about; `district` is where 区教育局 would be.
        """
        whole = text[:READ] if text.startswith(title) or not title else f"{title}\n{text[:READ]}"
        return self.read(whole, about == "department", district)

    def _read(self, whole: str, office: bool, district: str) -> tuple[Complaint, ...]:
        found: dict[str, Complaint] = {}
        for sentence in _SENTENCE.finditer(whole):
            said = sentence.group()
            mentions = list(self._mentions(said, district))
            if not mentions:
                continue
            faults = _faults(said, mentions)
            for index, mention in enumerate(mentions):
                how = _how(said, mention, faults.get(index, ()), office)
                if how is None:
                    continue
                one = Complaint(
                    mention.unit, said[mention.before : mention.end], _cut(said, mention.start), how
                )
                if mention.unit not in found or (how and not found[mention.unit].plain):
                    found[mention.unit] = one
        return tuple(sorted(found.values(), key=lambda one: (not one.plain, one.unit)))

    def _mentions(self, said: str, district: str) -> Iterable[_Mention]:
        for match in self._names.finditer(said):
            start, end = match.span()
            after = said[end : end + 4]
            if _PLACE_AFTER.match(after) or after[:1] in tuple(_OTHER_WORD.get(match.group()[-1], "")):
                continue
            unit, before = self._whose(said, start, match.group(), district)
            if unit:
                yield _Mention(start, end, before, unit)

    def _whose(self, said: str, start: int, name: str, district: str) -> tuple[str, int]:
        """Id of the unit that a name means where it stands, and where the place before it begins; "" for a stranger."""
        head = said[max(0, start - 12) : start]
        generic = name[0] in "区县" and name[1:] in ("政府", "人民政府")
        if (place := self._districts.search(head)) is not None:
            if self._elsewhere.search(head[: place.start()]) is not None:
                return "", start  # 福州高新区管委会
            known = self._of_name.get(name, "")
            own = generic or known not in self._of_place.values()
            return (self._of_place[place.group(1)] if own else known), start - len(head) + place.start()
        if generic or (
            head[-1:] in ("区", "县") and head[-2:-1] not in tuple(_PARTS) and name in self._of_name
        ):
            if generic and head[-1:] in tuple(_PARTS):
                return "", start
            return self._of_place.get(district, ""), start - (0 if generic else 1)
        if self._elsewhere.search(head) is not None:
            return "", start
        city = self._city.search(head)
        if city is not None and self._elsewhere.search(head[: city.start()]) is not None:
            return "", start
        return self._of_name.get(name, ""), start - len(head) + city.start() if city else start


def _ends_with(names: Iterable[str], tail: str) -> re.Pattern[str]:
    ordered = sorted({name for name in names if name}, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, ordered))}){tail}$" if ordered else r"(?!)")


def _faults(said: str, mentions: Sequence[_Mention]) -> dict[int, list[re.Match[str]]]:
    """Faults of a sentence by the mention that they belong to: the nearest one before, if no other subject lies between.

    Units that are named together (住建委、房管局都没人管) share them.
    """
    starts = [mention.start for mention in mentions]
    subjects = [match.start() for match in _SUBJECT.finditer(said)]
    found: dict[int, list[re.Match[str]]] = {}
    for fault in _FAULT_WORD.finditer(said):
        index = bisect_right(starts, fault.start()) - 1
        if index < 0 or fault.start() - starts[index] > _REACH or _WISHED.search(said[: fault.start()]):
            continue
        if not any(starts[index] < subject < fault.start() for subject in subjects):
            found.setdefault(index, []).append(fault)
            while index and _TOGETHER.fullmatch(said[mentions[index - 1].end : mentions[index].before]):
                index -= 1
                found.setdefault(index, []).append(fault)
    return found


def _how(said: str, mention: _Mention, faults: Sequence[re.Match[str]], office: bool) -> bool | None:
    """True: accused in so many words; False: the post is about it; None: it is only named."""
    head = said[max(0, mention.before - 14) : mention.before]
    if _ACCUSES.search(head):
        return True
    if _ASKS.search(head):
        return None
    if _RECEIVES.search(head):
        return True if any(_NO_ANSWER_WORD.match(fault.group()) for fault in faults) else None
    if faults:
        return True
    return False if office else None


def _cut(said: str, at: int) -> str:
    """The part of a sentence around a name."""
    begin = max(0, min(at - _QUOTE // 3, len(said) - _QUOTE))
    return said[begin : begin + _QUOTE].strip(" ，,、")
