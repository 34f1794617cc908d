"""Places of an incident as a schematic map: a square for each district, placed roughly as it lies, shaded by posts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from config.places import Places

#: units of the drawing: distance of two squares, and the gap between them
WIDTH, HEIGHT, GAP = 80, 52, 4


@dataclass(frozen=True)
class Tile:
    """One district. `shade` 0 (no post), 1 to 3 by thirds of the highest count: read together with the number."""

    x: int
    y: int
    name: str
    count: int
    shade: int


@dataclass(frozen=True)
class Tiles:
    """The whole drawing; `elsewhere`: mentions that have no square."""

    width: int
    height: int
    tiles: tuple[Tile, ...]
    elsewhere: int


def tiles_of(places: Places, counts: Mapping[str, int]) -> Tiles | None:
    """The map of posts by district name; None where the city has set no squares or no post speaks of one of them."""
    placed = [(one, one.cell) for one in places.districts if one.cell is not None]
    most = max((counts.get(one.name, 0) for one, _ in placed), default=0)
    if not most:
        return None
    tiles = tuple(
        Tile(x * WIDTH, y * HEIGHT, one.short, n := counts.get(one.name, 0), -(-3 * n // most))
        for one, (x, y) in placed
    )
    return Tiles(
        max(tile.x for tile in tiles) + WIDTH - GAP,
        max(tile.y for tile in tiles) + HEIGHT - GAP,
        tiles,
        sum(counts.values()) - sum(tile.count for tile in tiles),
    )
