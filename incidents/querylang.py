"""The query language of analysts: 停水 (历下区 | 市中区) -广告 “没人管” 医院 ~10 孩子 领域:住房 日期:近7天.

A space or 与 means and, | or 或 means or, - or 非 means not, quotes make a phrase, ~n means at most n characters
between two words in either order, brackets group. A word finds itself as a part of the text; full and half
width, capitals and small letters, one space and many are the same. `name:value` asks for a field (incidents.fields).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from incidents.fields import FIELD_OF, PLAIN, Names, WrongValue, instants
from incidents.grams import body_of, comparable

MAX_LENGTH = 500
MAX_TERMS = 50
MAX_DEPTH = 20
MAX_DISTANCE = 100

_QUOTES = '"＂“”'
_OPEN, _CLOSE = "(（", ")）"
_OR, _NOT = "|｜", "-－"
_WORDS = {"或": "or", "OR": "or", "与": "and", "AND": "and", "非": "not", "NOT": "not"}
_NEAR = re.compile(r"(.*)[~～]([0-9]+)")
#: a name and what is asked of it; an address (http://...) is no field
_FIELD = re.compile(r"([^\W\d_]{1,16})[:：](?!//)(.*)", re.DOTALL)
_SPECIAL = re.compile(r"([\\.\[\](){}*+?|^$])")


class QueryError(Exception):
    """A query that cannot be understood. `template` is the Chinese sentence with {n} for the 1-based place.

    `source` is the query as it was given.
    """

    source = ""

    def __init__(self, template: str, position: int, **values: object) -> None:
        self.template = template
        self.position = position
        self.values = {"n": position + 1, **values}
        self.message_zh = template.format(**self.values)
        super().__init__(self.message_zh)

    @property
    def pointer(self) -> str:
        """The query around the mistake, and a line below it with a mark under the place."""
        start = max(0, self.position - 24)
        shown = self.source[start : self.position + 24].replace("\n", " ")
        # a full-width space is as wide as a Chinese character
        before = self.source[start : self.position]
        gap = "".join("\u3000" if ord(char) > 0x2E7F else " " for char in before)
        return f"{shown}\n{gap}▲"


@dataclass(frozen=True)
class Term:
    """A word or phrase, in comparable form."""

    text: str


@dataclass(frozen=True)
class Near:
    """Two words with at most `distance` characters between them, in either order, not overlapping."""

    left: Term
    right: Term
    distance: int

    @property
    def pattern(self) -> str:
        """As a regular expression over the body; Python and PostgreSQL read it alike."""
        one, two = (_SPECIAL.sub(r"\\\1", term.text) for term in (self.left, self.right))
        gap = f"[^\n]{{0,{self.distance}}}"
        return f"{one}{gap}{two}|{two}{gap}{one}"


@dataclass(frozen=True)
class And:
    """All of these."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Or:
    """At least one of these."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Not:
    """Not this."""

    part: Node


@dataclass(frozen=True)
class Field:
    """One of these codes in a field: domain, district, source, tone, risk, and state, level, department of the incident."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class When:
    """Published (of incidents: detected) in these seconds since 1970, the last one excluded; None: open."""

    low: int | None
    high: int | None


Node = Term | Near | And | Or | Not | Field | When


@dataclass(frozen=True)
class Facts:
    """What fields are asked of: field -> the codes that a post or incident has, and its instants in seconds since 1970."""

    codes: Mapping[str, Collection[str]] = field(default_factory=dict)
    at: Collection[int] = ()


_NO_FACTS = Facts()


@dataclass(frozen=True)
class Query:
    """A parsed query. `node` None asks for everything."""

    source: str
    node: Node | None

    def matches(self, title: str, text: str, facts: Facts = _NO_FACTS) -> bool:
        """Whether a post has what is asked for: the meaning of the language, without any index."""
        return self.node is None or holds(self.node, body_of(title, text), facts)


def holds(node: Node, body: str, facts: Facts = _NO_FACTS) -> bool:
    """Whether comparable title and text (grams.body_of), with these facts, have what a part of a query asks for."""
    match node:
        case Term(text):
            return text in body
        case Near():
            return re.search(node.pattern, body) is not None
        case And(parts):
            return all(holds(part, body, facts) for part in parts)
        case Or(parts):
            return any(holds(part, body, facts) for part in parts)
        case Not(part):
            return not holds(part, body, facts)
        case Field(name, values):
            return any(code in values for code in facts.codes.get(name, ()))
        case When(low, high):
            return any((low is None or at >= low) and (high is None or at < high) for at in facts.at)


def only_words(node: Node) -> bool:
    """Whether a part of a query asks for words alone, so that the text decides."""
    match node:
        case And(parts) | Or(parts):
            return all(only_words(part) for part in parts)
        case Not(part):
            return only_words(part)
        case Field() | When():
            return False
        case _:
            return True


def fields_of(node: Node | None) -> frozenset[str]:
    """Names of the fields that a query asks for; `date` for times."""
    match node:
        case And(parts) | Or(parts):
            return frozenset().union(*map(fields_of, parts))
        case Not(part):
            return fields_of(part)
        case Field(name, _):
            return frozenset((name,))
        case When():
            return frozenset(("date",))
        case _:
            return frozenset()


def packed(node: Node) -> str:
    """A part that asks for words, as text that `unpacked` reads: the database hands it to our own function."""
    return json.dumps(_packed(node), ensure_ascii=False)


def _packed(node: Node) -> list[Any]:
    match node:
        case Term(text):
            return ["term", text]
        case Near(left, right, distance):
            return ["near", left.text, right.text, distance]
        case And(parts):
            return ["and", *map(_packed, parts)]
        case Or(parts):
            return ["or", *map(_packed, parts)]
        case Not(part):
            return ["not", _packed(part)]
        case _:
            raise ValueError(f"{node}: asks for no words")


@lru_cache(maxsize=64)
def unpacked(text: str) -> Node:
    """What `packed` wrote."""
    return _unpacked(json.loads(text))


def _unpacked(given: list[Any]) -> Node:
    kind, *rest = given
    if kind == "term":
        return Term(rest[0])
    if kind == "near":
        return Near(Term(rest[0]), Term(rest[1]), rest[2])
    if kind == "not":
        return Not(_unpacked(rest[0]))
    return (And if kind == "and" else Or)(tuple(map(_unpacked, rest)))


@dataclass(frozen=True)
class _Token:
    kind: str  # word | phrase | field | near | or | and | not | open | close | end
    text: str
    at: int
    name: str = ""  # of a field, as it was written
    value_at: int = 0


def _tokens(source: str) -> Iterator[_Token]:
    at = 0
    while at < len(source):
        char = source[at]
        if char.isspace():
            at += 1
        elif char in _QUOTES:
            end = _closing(source, at)
            yield _Token("phrase", source[at + 1 : end], at)
            at = end + 1
        elif char in _OPEN + _CLOSE + _OR + _NOT:
            kind = "open" if char in _OPEN else "close" if char in _CLOSE else "or" if char in _OR else "not"
            yield _Token(kind, char, at)
            at += 1
        else:
            start = at
            while at < len(source) and not (
                source[at].isspace() or source[at] in _QUOTES + _OPEN + _CLOSE + _OR
            ):
                at += 1
            found = _FIELD.fullmatch(source[start:at])
            if found is None or not _is_field(found[1]):
                yield from _word(source[start:at], start)
                continue
            value, value_at = found[2], start + found.start(2)
            if not value and source[at : at + 1] and source[at] in _QUOTES:
                end = _closing(source, at)
                value, value_at, at = source[at + 1 : end], at + 1, end + 1
            yield _Token("field", value, start, found[1], value_at)
    yield _Token("end", "", len(source))


def _closing(source: str, at: int) -> int:
    """Where the quotes that open at `at` end."""
    end = next((i for i in range(at + 1, len(source)) if source[i] in _QUOTES), None)
    if end is None:
        raise QueryError("第 {n} 个字：引号没有配对，请在短语末尾补上引号。", at)
    return end


def _is_field(name: str) -> bool:
    # “通知：停水” is what people write; a Latin word before a colon is a field that was meant, perhaps misspelt
    return comparable(name) in FIELD_OF or name.isascii()


def _word(word: str, at: int) -> Iterator[_Token]:
    near = _NEAR.fullmatch(word)
    if near:
        if near[1]:
            yield _Token("word", near[1], at)
        yield _Token("near", near[2], at + len(near[1]))
    else:
        yield _Token(_WORDS.get(word, "word"), word, at)


class _Parser:
    def __init__(self, source: str, names: Names) -> None:
        self.names = names
        self.tokens = list(_tokens(source))
        self.at = 0
        self.terms = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def take(self) -> _Token:
        token = self.token
        self.at += 1
        return token

    def any_of(self, depth: int) -> Node:
        parts = [self.all_of(depth)]
        while self.token.kind == "or":
            self.take()
            parts.append(self.all_of(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def all_of(self, depth: int) -> Node:
        parts = self.negated(depth)
        while self.token.kind in ("word", "phrase", "field", "open", "not", "and", "near"):
            if self.token.kind == "and":
                self.take()
            parts += self.negated(depth)
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def negated(self, depth: int) -> list[Node]:
        if self.token.kind != "not":
            return self.near(depth)
        at = self.take().at
        _check_depth(depth, at)
        parts = self.negated(depth + 1)
        return [Not(parts[0] if len(parts) == 1 else And(tuple(parts)))]

    def near(self, depth: int) -> list[Node]:
        first = self.primary(depth)
        if self.token.kind != "near":
            return [first]
        parts: list[Node] = []
        while self.token.kind == "near":
            token = self.take()
            distance = int(token.text) if len(token.text) <= 4 else MAX_DISTANCE + 1
            if distance > MAX_DISTANCE:
                raise QueryError("第 {n} 个字：“~”后的字数最多为 {most}。", token.at, most=MAX_DISTANCE)
            second = self.primary(depth)
            if not isinstance(first, Term) or not isinstance(second, Term):
                raise QueryError("第 {n} 个字：“~”两边只能是词或短语，不能是括号或字段。", token.at)
            parts.append(Near(first, second, distance))
            first = second
        return parts

    def primary(self, depth: int) -> Node:
        token = self.take()
        if token.kind == "open":
            _check_depth(depth, token.at)
            inner = self.any_of(depth + 1)
            if self.token.kind != "close":
                raise QueryError("第 {n} 个字：括号没有配对，请补上右括号。", token.at)
            self.take()
            return inner
        if token.kind in ("word", "phrase"):
            return self.term(token)
        if token.kind == "field":
            return self.field(token)
        if token.kind == "end":
            raise QueryError("第 {n} 个字：查询在这里中断，后面还缺一个词。", token.at)
        if token.kind == "close":
            raise QueryError("第 {n} 个字：右括号前面缺少词，或没有配对的左括号。", token.at)
        raise QueryError(
            "第 {n} 个字：“{text}”的位置不对，它的前面或后面缺少词；要查它本身，请加引号。",
            token.at,
            text="~" + token.text if token.kind == "near" else token.text,
        )

    def count(self, token: _Token) -> None:
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise QueryError("第 {n} 个字：查询的词太多，最多 {most} 个。", token.at, most=MAX_TERMS)

    def field(self, token: _Token) -> Field | When:
        self.count(token)
        name = FIELD_OF.get(comparable(token.name))
        if name is None:
            raise QueryError(
                "第 {n} 个字：没有“{field}”这个字段，可以用：{list}；要查它本身，请加引号。",
                token.at,
                field=token.name,
                list=self.names.listed,
            )
        if not token.text.strip():
            raise QueryError("第 {n} 个字：字段“{field}”后面缺少要查的值。", token.value_at, field=token.name)
        try:
            if name in ("date", "since", "until"):
                return When(*instants(name, token.text, self.names))
            return Field(name, self.names.codes(name, token.text))
        except WrongValue as wrong:
            raise self.wrong(token, wrong) from None

    def wrong(self, token: _Token, wrong: WrongValue) -> QueryError:
        """Why a value is none, with its place."""
        at = token.value_at + wrong.at
        if wrong.kind == "date":
            return QueryError(
                "第 {n} 个字：日期“{value}”看不懂，请写成 2026-11-24、2026-11、2026-11-01..2026-11-24 或 近7天。",
                at,
                value=wrong.value,
            )
        if wrong.kind == "risk":
            return QueryError(
                "第 {n} 个字：“{value}”不是风险等级，请写 0 到 3、>=2，或 无、低、中、高。",
                at,
                value=wrong.value,
            )
        if wrong.near:
            return QueryError(
                "第 {n} 个字：“{value}”不是字段“{field}”的值，您可能要写“{near}”。",
                at,
                value=wrong.value,
                field=token.name,
                near=wrong.near,
            )
        return QueryError(
            "第 {n} 个字：“{value}”不是字段“{field}”的值，可以写：{list}。",
            at,
            value=wrong.value,
            field=token.name,
            list=wrong.listed,
        )

    def term(self, token: _Token) -> Term:
        self.count(token)
        text = comparable(token.text)
        if not text:
            raise QueryError("第 {n} 个字：短语是空的，请在引号里写上要查的字。", token.at)
        return Term(text)


def _check_depth(depth: int, at: int) -> None:
    if depth >= MAX_DEPTH:
        raise QueryError("第 {n} 个字：括号套得太深，最多 {most} 层。", at, most=MAX_DEPTH)


def parse(source: str, names: Names = PLAIN) -> Query:
    """Understand a query; an empty one asks for everything. Raises QueryError with the place of the mistake.

    `names`: what sources, districts and departments are called; without them their values are taken as they stand.
    """
    try:
        return Query(source, _parse(source, names))
    except QueryError as wrong:
        wrong.source = source
        raise


def _parse(source: str, names: Names) -> Node | None:
    if len(source) > MAX_LENGTH:
        raise QueryError("第 {n} 个字：查询太长，最多 {most} 个字。", MAX_LENGTH, most=MAX_LENGTH)
    parser = _Parser(source, names)
    if parser.token.kind == "end":
        return None
    node = parser.any_of(0)
    if parser.token.kind != "end":
        raise QueryError("第 {n} 个字：右括号没有配对的左括号。", parser.token.at)
    return node
