"""The schematic map of an incident: what it shows is what the list says, and no district is missing or drawn over another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from config.places import Places
from console.tiles import GAP, HEIGHT, WIDTH, tiles_of
from incidents.session import Database
from tests.console_world import client, jinan, world


def test_every_district_of_the_packaged_city_has_a_square_of_its_own() -> None:
    drawn = tiles_of(jinan().places, {"历下区": 1})
    assert drawn is not None
    assert {one.name for one in drawn.tiles} == {one.short for one in jinan().places.districts}
    assert len({(one.x, one.y) for one in drawn.tiles}) == len(drawn.tiles) == 12
    assert drawn.width == max(one.x for one in drawn.tiles) + WIDTH - GAP
    assert drawn.height == max(one.y for one in drawn.tiles) + HEIGHT - GAP
    at = {one.name: (one.x, one.y) for one in drawn.tiles}
    assert at["商河"][1] < at["济阳"][1] < at["天桥"][1] < at["市中"][1] < at["长清"][1] < at["平阴"][1]
    assert at["槐荫"][0] < at["市中"][0] < at["历下"][0] < at["章丘"][0]


@pytest.mark.parametrize(("count", "shade"), [(0, 0), (1, 1), (3, 1), (4, 2), (6, 2), (7, 3), (9, 3)])
def test_shades_are_thirds_of_the_highest_count(count: int, shade: int) -> None:
    drawn = tiles_of(jinan().places, {"历下区": 9, "市中区": count, "": 2, "滨海区": 3})
    assert drawn is not None
    found = {one.name: (one.count, one.shade) for one in drawn.tiles}
    assert found["市中"] == (count, shade)
    assert found["历下"] == (9, 3)
    assert drawn.elsewhere == 5


def test_a_city_without_squares_and_an_incident_without_places_have_no_map() -> None:
    bare = [{"name": "东区", "code": "990001"}, {"name": "西区", "code": "990002", "cell": [0, 0]}]
    city = Places.model_validate({"city": "某某市", "code": "990000", "districts": bare})
    assert tiles_of(city, {"东区": 4}) is None
    assert tiles_of(city, {"西区": 1}) is not None
    assert tiles_of(jinan().places, {"": 3}) is None


def test_two_districts_on_one_square_are_refused() -> None:
    twice = [
        {"name": "东区", "code": "990001", "cell": [1, 2]},
        {"name": "西区", "code": "990002", "cell": [1, 2]},
    ]
    with pytest.raises(ValidationError, match=r"two districts on one square of the map: \[1, 2\]"):
        Places.model_validate({"city": "某某市", "code": "990000", "districts": twice})


def test_the_page_shows_map_and_list_with_the_same_numbers(db: Database, tmp_path: Path) -> None:
    town = world(db, tmp_path)
    town.account()
    case = town.incident("停水", ["一", "二", "三"], elsewhere={1: "市中区"}, copies=2)
    page = client(town).get(f"/incidents/{case.number}").text
    part = page.split('<section class="panel" id="places">', 1)[1].split("</section>", 1)[0]
    squares = dict(re.findall(r"<text>([^<]+)</text>(?:<text>(\d+)</text>)?</g>", part))
    assert (squares["历下"], squares["市中"], squares["莱芜"]) == ("4", "1", "")
    listed = dict(
        re.findall(r"<span>([^<]+)</span><meter[^>]*></meter><span class=\"num\">(\d+)</span>", part)
    )
    assert {name.removesuffix("区"): count for name, count in listed.items() if name.endswith("区")} == {
        name: count for name, count in squares.items() if count
    }
    assert "style=" not in part, "the policy of the page forbids it"
