"""Named places of the configuration: checked when read, found in texts under one name."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.judge import gazetteer_of
from analysis.places import find_places
from config.files import DEFAULTS
from config.places import Places, load_places
from config.settings import ConfigError

NAMED = """
named:
  - {kind: school, name: 泉城外国语学校, aliases: [泉外], district: 历下区}
  - {kind: estate, name: 云上泉林}
"""


def places(tmp_path: Path, more: str) -> Places:
    file = tmp_path / "jinan.yaml"
    file.write_text((DEFAULTS / "places" / "jinan.yaml").read_text("utf-8") + more, "utf-8")
    return load_places(file)


def test_named_places_are_found_by_every_name(tmp_path: Path) -> None:
    gazetteer = gazetteer_of(places(tmp_path, NAMED))
    for text in ("泉外的食堂太贵", "泉城外国语学校的食堂太贵"):
        found, districts = find_places(text, gazetteer)
        assert [(p.kind, p.norm) for p in found] == [("school", "泉城外国语")]
        assert districts == ["历下区"]
    assert [p.norm for p in find_places("云上泉林停水", gazetteer)[0]] == ["云上泉林"]


def test_an_area_is_no_district_and_a_short_alias_is_no_area() -> None:
    gazetteer = gazetteer_of(load_places(DEFAULTS / "places" / "jinan.yaml"))
    found, districts = find_places("起步区的工地和南山的果园", gazetteer)
    assert [p.norm for p in found] == ["济南新旧动能转换起步区"]
    assert districts == []


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{kind: school, name: 泉城外国语学校, district: 云中区}", "云中区"),
        ("{kind: church, name: 泉城教堂}", "church"),
        ("{kind: school, name: 泉城外国语学校, aliases: [外]}", "one character"),
        ("{kind: school, name: 泉城外国语学校, aliases: [泉城外国语学校]}", "named twice"),
        ("{kind: school}", "name"),
    ],
)
def test_wrong_entries_are_told(tmp_path: Path, entry: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        places(tmp_path, f"\nnamed:\n  - {entry}\n")
