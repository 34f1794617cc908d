"""Why a post was judged so, why it is (not) in an incident, why an incident was (not) raised: in sentences of both languages.

Pure: works on what is stored. Numbers are the stored ones, so that the answer is about what the machine did then,
not about what it would do today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.cluster import ClusterItem, ClusterModel, Sketch, compare, read_item
from analysis.judge import Thresholds
from analysis.places import Place
from config.domains import domain_label
from incidents.dossier import Dossier, JudgementView
from incidents.labels import VALUES, LabelView

TONE = {"neg": ("负面", "negative"), "neu": ("中性", "neutral"), "pos": ("正面", "positive")}
ABOUT = {
    "department": ("部门", "a department"),
    "school": ("学校", "a school"),
    "company": ("企业", "a company"),
    "other": ("其他", "somebody else"),
    "": ("未写明", "not said"),
}
KIND = {
    "tone": ("情绪", "tone"),
    "domain": ("领域", "domain"),
    "signal": ("反映真实问题", "real problem"),
    "risk": ("风险", "risk"),
    "about": ("投诉对象", "complaint about"),
}
#: features of the comparison of a post with an incident (analysis/cluster.py)
FEATURE = {
    "centre": ("用词与事件整体相近", "words like those of the whole incident"),
    "member": ("与其中某帖说的问题相近", "trouble like that of one of its posts"),
    "title": ("标题相近", "titles alike"),
    "shared": ("地点或单位相同", "same place or organisation"),
    "title_shared": ("标题里的地点相同", "same place in the title"),
    "clash": ("地点或单位不同", "other place or organisation"),
    "other_subject": ("标题里是另一小区、学校等", "title names another estate, school ..."),
    "areas_clash": ("不在同一区县", "other district"),
    "author": ("同一作者", "same author"),
    "author_like": ("同一作者且内容相近", "same author, like words"),
    "shared_like": ("同一地点且问题相近", "same place, like trouble"),
    "shared_unlike": ("同一地点但问题不同", "same place, other trouble"),
    "no_common_trouble": ("说的问题没有共同用词", "no word in common about the trouble"),
    "gap": ("时间间隔", "time between"),
    "size": ("事件规模", "size of the incident"),
    "copy": ("近似转载", "near-copy"),
    "member_2nd": ("与其中第二帖说的问题也相近", "trouble like that of a second post"),
    "areas_same": ("在同一区县", "same district"),
    "bigrams": ("标题用字相近", "titles share character pairs"),
    "bigrams_2nd": ("与第二个标题用字也相近", "character pairs shared with a second title"),
    "bigrams_all": ("标题大部分用字相同", "most character pairs of the titles agree"),
    "rarest_bigram": ("标题有相同的少见字对", "titles share a rare character pair"),
    "trigrams": ("标题有相同的三字组合", "titles share triples of characters"),
    "trigrams_2nd": ("与第二个标题有相同的三字组合", "triples shared with a second title"),
    "rarest_trigram": ("标题有相同的少见三字组合", "titles share a rare triple of characters"),
    "body": ("正文用字相近", "texts share rare triples of characters"),
    "body_2nd": ("与第二帖正文用字也相近", "rare triples shared with a second text"),
    "title_in_body": ("标题用字出现在事件的正文里", "its title appears in the incident's texts"),
    "body_has_title": ("正文里出现事件的标题用字", "its text holds the incident's title"),
    "both_ways": ("标题与正文互相印证", "titles and texts hold each other"),
    "rarest_in_body": ("少见的标题用字也见于正文", "a rare part of a title is in the other text"),
    "names": ("相同的地点或单位的数量", "number of places or organisations shared"),
    "main_shared": ("与事件的主要地点相同", "shares the incident's main place"),
    "title_name_known": ("标题里的地点事件中已有", "the place in its title is known to the incident"),
    "has_title_name": ("标题写明地点", "its title names a place"),
    "has_name": ("帖子写明地点", "the post names a place"),
    "incident_has_name": ("事件写明地点", "the incident names a place"),
    "span": ("事件持续的时间", "how long the incident has lasted"),
    "title_length": ("标题长度", "length of the title"),
    "rarest_word": ("标题有相同的少见词", "a rare word of its title is shared"),
    "rarest_missing": ("标题有事件中没有的少见词", "a rare word of its title is missing there"),
}
GRADE = {
    "severity": ("严重程度", "severity", 40),
    "reach": ("范围", "reach", 25),
    "growth": ("增速", "growth", 20),
    "media": ("媒体", "media", 15),
}


@dataclass(frozen=True)
class Sentence:
    """One sentence of an answer."""

    zh: str
    en: str

    def of(self, lang: str) -> str:
        """In the reader's language."""
        return self.en if lang.startswith("en") else self.zh


def said_value(kind: str, value: str, lang: str) -> str:
    """What a label's value is called."""
    english = int(lang.startswith("en"))
    if kind == "domain":
        return domain_label(value, lang)
    if kind == "tone":
        return TONE.get(value, (value, value))[english]
    if kind == "about":
        return ABOUT.get(value, (value, value))[english]
    if kind == "signal":
        return {"yes": ("是", "yes"), "no": ("否", "no")}.get(value, (value, value))[english]
    return value


def judged_so(post: Dossier, limits: Thresholds, *, corrections: bool = True) -> list[Sentence]:
    """The judgement of one post: labels, probabilities, thresholds, words, danger words and what silenced them.

    Without `corrections` what people changed is left out (where a page lists it anyway).
    """
    row = post.judgement
    if row is None:
        return [Sentence("该帖子还在等待研判。", "This post still waits to be judged.")]
    found = [_tone(row), _domain(row), _signal(row), _risk(row)]
    if row.about:
        zh, en = ABOUT.get(row.about, (row.about, row.about))
        found.append(Sentence(f"投诉对象：{zh}。", f"The complaint is about {en}."))
    found += _hazards(row)
    found += _unsure(row, limits)
    if corrections:
        found += [_corrected(kind, label) for kind, label in post.said.items() if kind in VALUES]
    found.append(
        Sentence(
            f"模型 {row.model_version}；SnowNLP 自身情绪值 {row.snownlp_score:.2f}（0 负面，1 正面）。",
            f"Model {row.model_version}; SnowNLP's own value {row.snownlp_score:.2f} (0 negative, 1 positive).",
        )
    )
    return found


#: what the words of each judgement speak for (analysis/judge.py), whatever was chosen in the end
_TOWARDS = {
    "tone": ("偏向负面的词", "words towards negative"),
    "signal": ("偏向真实问题的词", "words towards a real problem"),
    "domain": ("指向该领域的词", "words of the domain"),
}


def _words(row: JudgementView, task: str) -> tuple[str, str]:
    words = row.reasons.get(task)
    if not isinstance(words, list) or not words:
        return "", ""
    shown = [str(word) for word in words]
    zh, en = _TOWARDS[task]
    return f"；{zh}：{'、'.join(shown)}", f"; {en}: {', '.join(shown)}"


def _tone(row: JudgementView) -> Sentence:
    zh, en = TONE.get(row.tone, (row.tone, row.tone))
    words = _words(row, "tone")
    return Sentence(
        f"情绪：{zh}（负面概率 {row.tone_score:.0%}{words[0]}）。",
        f"Tone: {en} (negative with {row.tone_score:.0%}{words[1]}).",
    )


def _domain(row: JudgementView) -> Sentence:
    words = _words(row, "domain")
    return Sentence(
        f"领域：{domain_label(row.domain)}（概率 {row.domain_score:.0%}{words[0]}）。",
        f"Domain: {domain_label(row.domain, 'en')} (probability {row.domain_score:.0%}{words[1]}).",
    )


def _signal(row: JudgementView) -> Sentence:
    words = _words(row, "signal")
    return Sentence(
        f"{'反映' if row.signal else '不反映'}真实问题（概率 {row.signal_score:.0%}{words[0]}）。",
        f"It {'tells' if row.signal else 'does not tell'} of a real problem ({row.signal_score:.0%}{words[1]}).",
    )


def _risk(row: JudgementView) -> Sentence:
    return Sentence(
        f"风险：{row.risk} 级（0 至 3；概率 {row.risk_score:.0%}）。",
        f"Risk: {row.risk} of 3 (probability {row.risk_score:.0%}).",
    )


def _hazards(row: JudgementView) -> list[Sentence]:
    found = []
    hits = row.reasons.get("hazards")
    for hit in hits if isinstance(hits, list) else []:
        word, clause, guard = hit.get("word", ""), hit.get("clause", ""), hit.get("silenced_by")
        if guard:
            found.append(
                Sentence(
                    f"危险词“{word}”（“{clause}”）被排除：{guard}。",
                    f"Danger word {word} (“{clause}”) silenced by {guard}.",
                )
            )
        else:
            found.append(Sentence(f"危险词“{word}”（“{clause}”）。", f"Danger word {word} (“{clause}”)."))
    elsewhere = row.reasons.get("elsewhere")
    if elsewhere:
        found.append(Sentence(f"说的是外地：{elsewhere}。", f"It plays in another place: {elsewhere}."))
    if row.reasons.get("review"):
        found.append(
            Sentence(
                "像是严重情况，但未达到快速通道的门槛，请人看一眼。",
                "It may be grave but stays below the limits of the fast track: a person should look.",
            )
        )
    if not hits:
        found.append(Sentence("没有危险词，不走快速通道。", "No danger word: the fast track does not apply."))
    return found


def _unsure(row: JudgementView, limits: Thresholds) -> list[Sentence]:
    tasks = row.reasons.get("unsure")
    if not isinstance(tasks, list) or not tasks:
        return []
    zh = "、".join(f"{KIND.get(t, (t, t))[0]}（低于 {limits.unsure.get(t, 0):.0%}）" for t in tasks)
    en = ", ".join(f"{KIND.get(t, (t, t))[1]} (below {limits.unsure.get(t, 0):.0%})" for t in tasks)
    if row.abstain:
        return [Sentence(f"把握不足，请人判断：{zh}。", f"Not sure, a person should look: {en}.")]
    return [Sentence(f"曾把握不足：{zh}。", f"It had not been sure of: {en}.")]


def _corrected(kind: str, label: LabelView) -> Sentence:
    zh, en = KIND[kind]
    when = label.created_at.isoformat(timespec="minutes")
    if not label.changed:
        return Sentence(
            f"{zh}经 {label.actor} 于 {when} 确认无误。", f"{en} was confirmed by {label.actor}, {when}."
        )
    now, was = (said_value(kind, value, "zh") for value in (label.value, label.machine))
    now_en, was_en = (said_value(kind, value, "en") for value in (label.value, label.machine))
    reason = f"（{label.reason}）" if label.reason else ""
    return Sentence(
        f"{zh}由 {label.actor} 于 {when} 改为“{now}”，系统判为“{was}”{reason}。",
        f"{en} was set to “{now_en}” by {label.actor}, {when}; the model had said “{was_en}”{reason}.",
    )


def placed_so(post: Dossier, watched: frozenset[str], limits: Thresholds) -> list[Sentence]:
    """Why the post is in its incident (features of the comparison), or why it stayed outside of all."""
    row = post.judgement
    if row is None:
        return []
    if post.incident_id is None:
        return [_outside(post, row, watched, limits)]
    if row.near_copy_of is not None:
        return [
            Sentence(
                f"是帖子 {row.near_copy_of} 的近似转载，不另计发声人数。",
                f"It is a near-copy of post {row.near_copy_of} and counts as no further voice.",
            )
        ]
    if post.similarity == 1.0:
        return [Sentence("事件由该帖开始。", "The incident began with it.")]
    features = likeness(post)
    if not features:
        return [
            Sentence(
                f"归入时的相似概率 {post.similarity or 0:.0%}；之后有人改动过事件的帖子，理由须待重新计算。",
                f"It joined with probability {post.similarity or 0:.0%}; people changed the incident's posts since, so that its features are to be computed anew.",
            )
        ]
    speaks = [name for name, share in features if share > 0][:4]
    against = [name for name, share in reversed(features) if share < 0][:2]
    zh = "、".join(FEATURE.get(name, (name, name))[0] for name in speaks)
    en = ", ".join(FEATURE.get(name, (name, name))[1] for name in speaks)
    not_zh = "、".join(FEATURE.get(name, (name, name))[0] for name in against)
    not_en = ", ".join(FEATURE.get(name, (name, name))[1] for name in against)
    return [
        Sentence(
            f"归入时的相似概率 {post.similarity or 0:.0%}；理由：{zh}{f'；相反：{not_zh}' if against else ''}。",
            f"It joined with probability {post.similarity or 0:.0%} because of: {en}{f'; against: {not_en}' if against else ''}.",
        )
    ]


def _outside(post: Dossier, row: JudgementView, watched: frozenset[str], limits: Thresholds) -> Sentence:
    taken = post.said.get("outside")
    if taken is not None:
        why = f"（{taken.reason}）" if taken.reason else ""
        return Sentence(
            f"由 {taken.actor} 移出事件，认为不属于该事件{why}。",
            f"{taken.actor} took it out of its incident as not belonging there{why}.",
        )
    if row.signal_score < limits.cluster_signal and row.domain not in watched:
        return Sentence(
            f"未归入任何事件：反映真实问题的概率 {row.signal_score:.0%}，低于 {limits.cluster_signal:.0%}，且不属重点领域。",
            f"It is in no incident: real with {row.signal_score:.0%}, below {limits.cluster_signal:.0%}, and in no watched domain.",
        )
    return Sentence(
        "目前不在任何事件中：所在的一组可能已按期限清除。",
        "It is in no incident at present: the group it was in may have been purged.",
    )


def likeness(post: Dossier) -> list[tuple[str, float]]:
    """What speaks for and against the post being in its incident as that stands now: features with their share, strongest first."""
    row = post.judgement
    if row is None:
        return []
    try:
        sketch = Sketch.from_json(post.sketch)
    except (KeyError, TypeError, ValueError):
        return []  # opened by a person, or to be computed again
    places = [place for place in map(_place, row.places) if place is not None]
    item = ClusterItem(
        str(post.id), post.title, post.text, post.published_at, tuple(places), None, row.districts
    )
    model = ClusterModel.load()
    shares = {
        name: (model.weights.get(name, 0.0) + model.rules.get(name, 0.0)) * value
        for name, value in compare(read_item(item), sketch).items()
    }
    return sorted(
        ((name, round(share, 3)) for name, share in shares.items() if share),
        key=lambda pair: (-pair[1], pair[0]),
    )


def _place(data: Mapping[str, Any]) -> Place | None:
    try:
        return Place(kind=data["kind"], name=str(data["name"]), norm=str(data["norm"]))
    except KeyError:
        return None


def graded_so(why: Mapping[str, Any]) -> list[Sentence]:
    """The parts of the 0-100 score that a detection recorded."""
    if why.get("grade_zh") and why.get("grade_en"):
        return [Sentence(f"等级：{why['grade_zh']}", f"Grade: {why['grade_en']}")]
    parts = why.get("grade")
    if not isinstance(parts, dict) or "score" not in parts:
        return []
    zh, en = [], []
    for name, value in parts.items():
        if name == "score" or not isinstance(value, int | float):
            continue
        known = GRADE.get(name)
        zh.append(f"{known[0]} {value:g}/{known[2]}" if known else f"{name} {value:g}")
        en.append(f"{known[1]} {value:g}/{known[2]}" if known else f"{name} {value:g}")
    return [
        Sentence(
            f"等级评分 {parts['score']:g}（满分 100）：{'、'.join(zh)}。",
            f"Grade score {parts['score']:g} of 100: {', '.join(en)}.",
        )
    ]


def flagged_so(why: Mapping[str, Any]) -> list[Sentence]:
    """The arithmetic of a detection in one sentence, as it was recorded."""
    zh, en = str(why.get("sentence_zh") or ""), str(why.get("sentence_en") or "")
    return [Sentence(zh or en, en or zh)] if zh or en else []


def silenced_words(posts: Sequence[Mapping[str, Any]]) -> list[Sentence]:
    """Of the reasons of a cluster's posts: danger words that did not raise it, and what silenced them."""
    seen: dict[tuple[str, str], None] = {}
    for reasons in posts:
        hits = reasons.get("hazards")
        for hit in hits if isinstance(hits, list) else []:
            seen[(str(hit.get("word", "")), str(hit.get("silenced_by") or ""))] = None
    found = []
    for word, guard in list(seen)[:4]:
        found.append(
            Sentence(
                f"快速通道：危险词“{word}”被排除（{guard}）。",
                f"Fast track: danger word {word} silenced by {guard}.",
            )
            if guard
            else Sentence(
                f"快速通道：危险词“{word}”的可信度或领域不够。",
                f"Fast track: danger word {word} was not credible enough, or outside the watched domains.",
            )
        )
    return found or [Sentence("快速通道：没有危险词。", "Fast track: no danger word.")]
