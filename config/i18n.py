"""Chinese texts and their English: gettext catalogues read straight from the .po files, so nothing is compiled.

Each room keeps its own catalogue `<room>/locale/<language>/LC_MESSAGES/<room>.po` whose msgids are the Chinese texts.
Chinese is the source language: for zh every text is itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import PoFileError, read_po

from config.settings import ConfigError

ROOT = Path(__file__).parent.parent
LANGUAGES = ("zh_CN", "en")
#: a named place in a text
_HOLE = re.compile(r"\{(\w+)\}")


def catalogue_path(room: str, language: str) -> Path:
    """Where a room keeps its texts in a language."""
    return ROOT / room / "locale" / language / "LC_MESSAGES" / f"{room}.po"


@cache
def catalogue(room: str, language: str) -> Catalog | None:
    """The texts of a room, None if it has none in this language. Raises ConfigError for a broken file."""
    path = catalogue_path(room, language)
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream:
            return read_po(stream, locale=language, domain=room, abort_invalid=True)
    except (PoFileError, ValueError) as exc:
        raise ConfigError([f"{path}: not a valid .po file: {exc}"]) from exc


def _language(language: str) -> str:
    """`zh`, `zh-CN` and the like are Chinese, `en-US` is English; any other language is refused."""
    short = language.replace("-", "_").split("_")[0].lower()
    for known in LANGUAGES:
        if known.split("_")[0] == short:
            return known
    raise ConfigError([f"language = {language!r}: expected one of {', '.join(LANGUAGES)}"])


@cache
def translator(room: str, language: str) -> Callable[[str], str]:
    """`_` of a room in a language. A text without a translation stays Chinese; a test counts those."""
    known = _language(language)
    texts = None if known == "zh_CN" else catalogue(room, known)
    if texts is None:
        return str

    table: dict[str, str] = {}
    for message in texts:
        if isinstance(message.id, str) and isinstance(message.string, str) and message.id and message.string:
            if not message.fuzzy:
                table[message.id] = message.string
        elif isinstance(message.id, tuple | list) and message.string and message.string[0]:
            table.setdefault(message.id[0], message.string[0])

    def translate(text: str) -> str:
        return table.get(text, text)

    return translate


@cache
def ntranslator(room: str, language: str) -> Callable[[str, str, int], str]:
    """`ngettext` of a room: (singular, plural, n) -> the text for n. Chinese has one form, its singular msgid.

    The catalogue holds `msgid`/`msgid_plural` with `msgstr[0]`, `msgstr[1]`; English takes [0] for n = 1 only.
    """
    known = _language(language)
    texts = None if known == "zh_CN" else catalogue(room, known)
    table: dict[str, tuple[str, ...]] = {}
    for message in texts or ():
        forms = message.string
        if isinstance(message.id, tuple | list) and isinstance(forms, tuple | list) and all(forms):
            table[message.id[0]] = tuple(forms)

    def translate(singular: str, plural: str, n: int) -> str:
        if texts is None:
            return singular if known == "zh_CN" or n == 1 else plural
        known_forms = table.get(singular)
        if known_forms is None:
            return singular if n == 1 else plural
        return known_forms[0 if n == 1 else min(1, len(known_forms) - 1)]

    return translate


@cache
def _patterns(room: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Each English text of a room as a pattern, with its msgid; those with more fixed words first."""
    found = []
    for message in catalogue(room, "en") or ():
        if isinstance(message.id, str) and isinstance(message.string, str) and message.id and message.string:
            pieces = _HOLE.split(message.string)
            # odd pieces are names; what stands there never runs over the end of a part
            pattern = "".join(
                f"(?P<{piece}>(?:(?!; ).)*?)" if at % 2 else re.escape(piece)
                for at, piece in enumerate(pieces)
            )
            found.append((sum(map(len, pieces[::2])), re.compile(pattern, re.DOTALL), message.id))
    found.sort(key=lambda one: -one[0])
    return tuple((pattern, text) for _, pattern, text in found)


@lru_cache(maxsize=4096)
def retold(room: str, text: str, language: str) -> str:
    """An English sentence that was stored (evidence of a source, made of parts with `; ` between them) in the reader's language.

    The room's catalogue is read from its English side. A part that it does not hold stays English.
    """
    if _language(language) != "zh_CN" or not text:
        return text
    parts, told, at = text.split("; "), [], 0
    while at < len(parts):
        for end in range(len(parts), at, -1):
            if (found := _retold(room, "; ".join(parts[at:end]))) is not None:
                told.append(found)
                at = end
                break
        else:
            told.append(parts[at])
            at += 1
    return "；".join(told)


def _retold(room: str, sentence: str) -> str | None:
    for pattern, text in _patterns(room):
        if (match := pattern.fullmatch(sentence)) is not None:
            return text.format(**match.groupdict())
    return None


def untranslated(room: str, language: str = "en") -> list[str]:
    """The texts of a room's catalogue that have no translation or an uncertain (fuzzy) one."""
    return [
        message.id if isinstance(message.id, str) else message.id[0]
        for message in catalogue(room, language) or ()
        if message.id and (message.fuzzy or not message.string or not all(message.string))
    ]
