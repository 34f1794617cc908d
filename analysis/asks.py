"""What people ask for 诉求: the sentences of a case's posts that want, ask or question something, alike ones together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.likeness import Terms, cosine, terms
from analysis.spans import Span, narrow, sentences

#: asks of two posts that are this alike are one
SAME = 0.45
#: asks of one case that are looked at, the most wanted first
MOST = 12
_ASKS = re.compile(
    r"请求|恳请|恳求|请问|想问|问一下|请(?!假|客)[^，。；]{0,12}(?:解决|处理|查处|答复|回复|给|帮|部门|领导|政府|督促|协调|关注|调查|核实|公布|尽快|检修|维修|修复|修好|整改|清理|取缔|制止|安装|增加|恢复)|希望|盼望?|要求|建议|强烈|呼吁|诉求|能否|能不能|可否|可不可以|是否|是不是|为什么|为何|凭什么|何时|什么时候|啥时候|多久|几时|怎么办|如何|怎样|有没有|吗|呢|[？?]|求(?:解决|助|回复|证|管|查)|投诉|举报|望(?:有关|相关|政府|领导|尽快|能|给|予)|还(?:我|我们|业主|百姓)"
)
#: says what is the matter, where nothing is asked outright
_POLITE = re.compile(
    r"^(?:[^，。；]{0,12}(?:您好|你好)[！，。：:]?|尊敬的[^，。；！：:]{0,16}[：:，！]?|谢谢[^，。；]{0,10})+$"
)


@dataclass(frozen=True)
class CasePost:
    """A post of the case. `author`: whatever tells voices apart; None: nobody is known, each such post is a voice of its own."""

    key: int
    title: str
    text: str
    author: str | None = None


@dataclass(frozen=True)
class Ask:
    """One thing that is asked for. `span` lies in title and text, joined by a line break, of post `post`."""

    post: int
    span: Span
    text: str
    #: share of the case's voices that ask it
    weight: float
    words: Terms


def joined(title: str, text: str) -> str:
    """Title and text as spans count them."""
    return f"{title}\n{text}"


def _asks_of(post: CasePost) -> list[tuple[Span, str]]:
    whole = narrow(joined(post.title, post.text))
    parts = [span for span in sentences(whole) if not _POLITE.match(span.of(whole).strip())]
    asked = [span for span in parts if _ASKS.search(span.of(whole))]
    # a title that only names the matter asks for it to be dealt with
    chosen = asked or parts[:1]
    return [(span, span.of(whole).strip()) for span in chosen]


def asks_of(posts: Sequence[CasePost]) -> tuple[Ask, ...]:
    """What is asked, the most wanted first. Weight: share of voices with an ask of the same kind."""
    groups: list[tuple[int, Span, str, Terms, set[str]]] = []
    voices = {post.author or f"#{post.key}" for post in posts}
    for post in posts:
        voice = post.author or f"#{post.key}"
        for span, text in _asks_of(post):
            words = terms(text)
            if not words:
                continue
            for group in groups:
                if cosine(words, group[3]) >= SAME:
                    group[4].add(voice)
                    break
            else:
                groups.append((post.key, span, text, words, {voice}))
    groups.sort(key=lambda group: -len(group[4]))
    return tuple(
        Ask(key, span, text, len(who) / len(voices), words) for key, span, text, words, who in groups[:MOST]
    )
