"""Chinese texts and their English, read from .po files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import i18n
from config.i18n import ntranslator, translator, untranslated
from config.settings import ConfigError

HEAD = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n\n'


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A room with an English catalogue; returns the file."""
    monkeypatch.setattr(i18n, "ROOT", tmp_path)
    path = tmp_path / "desk" / "locale" / "en" / "LC_MESSAGES" / "desk.po"
    path.parent.mkdir(parents=True)
    path.write_text(
        HEAD
        + 'msgid "确认"\nmsgstr "Confirm"\n\n'
        + 'msgid "发现 {n} 起"\nmsgstr "{n} found"\n\n'
        + 'msgid "{n} 条帖子"\nmsgid_plural "{n} 条帖子"\nmsgstr[0] "{n} post"\nmsgstr[1] "{n} posts"\n\n'
        + 'msgid "签收"\nmsgstr ""\n\n'
        + '#, fuzzy\nmsgid "办结"\nmsgstr "Perhaps closed"\n',
        "utf-8",
    )
    _forget()
    yield path
    _forget()


def _forget() -> None:
    for cached in (i18n.catalogue, i18n.translator, i18n.ntranslator):
        cached.cache_clear()


@pytest.mark.usefixtures("room")
def test_chinese_is_itself_and_english_is_looked_up() -> None:
    assert translator("desk", "zh_CN")("确认") == "确认"
    assert translator("desk", "en")("确认") == "Confirm"
    assert translator("desk", "en")("发现 {n} 起").format(n=3) == "3 found"


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("language", ["en", "en_US", "en-GB", "EN"])
def test_every_spelling_of_english_is_english(language: str) -> None:
    assert translator("desk", language)("确认") == "Confirm"


@pytest.mark.usefixtures("room")
def test_a_missing_or_uncertain_translation_stays_chinese_and_is_counted() -> None:
    assert translator("desk", "en")("签收") == "签收"
    assert translator("desk", "en")("办结") == "办结"
    assert translator("desk", "en")("没有这一条") == "没有这一条"
    assert untranslated("desk") == ["签收", "办结"]


@pytest.mark.usefixtures("room")
def test_numbers_choose_the_form() -> None:
    english = ntranslator("desk", "en")
    assert english("{n} 条帖子", "{n} 条帖子", 1).format(n=1) == "1 post"
    assert english("{n} 条帖子", "{n} 条帖子", 0).format(n=0) == "0 posts"
    assert english("{n} 条帖子", "{n} 条帖子", 2).format(n=2) == "2 posts"
    assert ntranslator("desk", "zh_CN")("{n} 条帖子", "{n} 条帖子", 2).format(n=2) == "2 条帖子"


@pytest.mark.usefixtures("room")
def test_a_room_without_a_catalogue_speaks_chinese() -> None:
    assert translator("cellar", "en")("确认") == "确认"
    assert untranslated("cellar") == []


def test_another_language_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected one of zh_CN, en"):
        translator("desk", "fr")


def test_a_broken_catalogue_names_the_file(room: Path) -> None:
    room.write_text(HEAD + 'msgid "确认"\nnonsense\n', "utf-8")
    with pytest.raises(ConfigError, match=r"desk\.po: not a valid \.po file"):
        translator("desk", "en")


@pytest.mark.parametrize("name", ["alerts", "reports", "console"])
def test_every_text_of_a_room_has_its_english(name: str) -> None:
    assert untranslated(name) == []


@pytest.mark.parametrize(
    "path", sorted(i18n.ROOT.glob("*/locale/en/LC_MESSAGES/*.po")), ids=lambda path: path.stem
)
def test_no_text_is_translated_twice(path: Path) -> None:
    entries = re.findall(r'^((?:msgctxt .*\n)?msgid .*(?:\n".*")*)', path.read_text("utf-8"), re.MULTILINE)
    assert [text for text, times in Counter(entries).items() if times > 1] == []
