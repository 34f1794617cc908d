"""The query language of analysts: 停水 (历下区 | 市中区) -广告 “没人管” 医院 ~10 孩子.

A space or 与 means and, | or 或 means or, - or 非 means not, quotes make a phrase, ~n means at most n characters
between two words in either order, brackets group. A word finds itself as a part of the text; full and half
width, capitals and small letters, one space and many are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

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
_SPECIAL = re.compile(r"([\\.\[\](){}*+?|^$])")


class QueryError(Exception):
    """A query that cannot be understood. `template` is the Chinese sentence with {n} for the 1-based place."""

    def __init__(self, template: str, position: int, **values: object) -> None:
        self.template = template
        self.position = position
        self.values = {"n": position + 1, **values}
        self.message_zh = template.format(**self.values)
        super().__init__(self.message_zh)


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


Node = Term | Near | And | Or | Not


@dataclass(frozen=True)
class Query:
    """A parsed query. `node` None asks for everything."""

    source: str
    node: Node | None

    def matches(self, title: str, text: str) -> bool:
        """Whether a post has what is asked for: the meaning of the language, without any index."""
        return self.node is None or _holds(self.node, body_of(title, text))


def _holds(node: Node, body: str) -> bool:
    match node:
        case Term(text):
            return text in body
        case Near():
            return re.search(node.pattern, body) is not None
        case And(parts):
            return all(_holds(part, body) for part in parts)
        case Or(parts):
            return any(_holds(part, body) for part in parts)
        case Not(part):
            return not _holds(part, body)


@dataclass(frozen=True)
class _Token:
    kind: str  # word | phrase | near | or | and | not | open | close | end
    text: str
    at: int


def _tokens(source: str) -> Iterator[_Token]:
    at = 0
    while at < len(source):
        char = source[at]
        if char.isspace():
            at += 1
        elif char in _QUOTES:
            end = next((i for i in range(at + 1, len(source)) if source[i] in _QUOTES), None)
            if end is None:
                raise QueryError("第 {n} 个字：引号没有配对，请在短语末尾补上引号。", at)
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
            yield from _word(source[start:at], start)
    yield _Token("end", "", len(source))


def _word(word: str, at: int) -> Iterator[_Token]:
    near = _NEAR.fullmatch(word)
    if near:
        if near[1]:
            yield _Token("word", near[1], at)
        yield _Token("near", near[2], at + len(near[1]))
    else:
        yield _Token(_WORDS.get(word, "word"), word, at)


class _Parser:
    def __init__(self, source: str) -> None:
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
        while self.token.kind in ("word", "phrase", "open", "not", "and", "near"):
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
                raise QueryError("第 {n} 个字：“~”两边只能是词或短语，不能是括号。", token.at)
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
        if token.kind == "end":
            raise QueryError("第 {n} 个字：查询在这里中断，后面还缺一个词。", token.at)
        if token.kind == "close":
            raise QueryError("第 {n} 个字：右括号前面缺少词，或没有配对的左括号。", token.at)
        raise QueryError(
            "第 {n} 个字：“{text}”的位置不对，它的前面或后面缺少词；要查它本身，请加引号。",
            token.at,
            text="~" + token.text if token.kind == "near" else token.text,
        )

    def term(self, token: _Token) -> Term:
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise QueryError("第 {n} 个字：查询的词太多，最多 {most} 个。", token.at, most=MAX_TERMS)
        text = comparable(token.text)
        if not text:
            raise QueryError("第 {n} 个字：短语是空的，请在引号里写上要查的字。", token.at)
        return Term(text)


def _check_depth(depth: int, at: int) -> None:
    if depth >= MAX_DEPTH:
        raise QueryError("第 {n} 个字：括号套得太深，最多 {most} 层。", at, most=MAX_DEPTH)


def parse(source: str) -> Query:
    """Understand a query; an empty one asks for everything. Raises QueryError with the place of the mistake."""
    if len(source) > MAX_LENGTH:
        raise QueryError("第 {n} 个字：查询太长，最多 {most} 个字。", MAX_LENGTH, most=MAX_LENGTH)
    parser = _Parser(source)
    if parser.token.kind == "end":
        return Query(source, None)
    node = parser.any_of(0)
    if parser.token.kind != "end":
        raise QueryError("第 {n} 个字：右括号没有配对的左括号。", parser.token.at)
    return Query(source, node)
