"""Districts, streets and, where the city likes, estates and schools: names only, no address and no person."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from config.files import Record, parse, read_yaml, repeated

#: column and row of a square on the schematic map, counted from the top left
Step = Annotated[int, Field(ge=0, le=19)]


class Street(Record):
    """A street office (街道) or town (镇)."""

    code: str = Field(pattern=r"^\d{9}$", description="Administrative division code, 9 digits.")
    name: str = Field(min_length=2, description="Full name: 解放路街道.")

    @property
    def short(self) -> str:
        """The name without its kind: 解放路, 平安."""
        for kind in ("街道", "镇", "乡"):
            if self.name.endswith(kind) and len(self.name) > len(kind) + 1:
                return self.name.removesuffix(kind)
        return self.name


class District(Record):
    """A district or county. Its full name is its id everywhere (`历下区`)."""

    name: str = Field(min_length=2, pattern=r"[区县市]$", description="Full name, ending in 区, 县 or 市.")
    code: str = Field(pattern=r"^\d{6}$", description="Administrative division code, 6 digits.")
    aliases: tuple[str, ...] = Field((), description="Other names that people write.")
    cell: tuple[Step, Step] | None = Field(
        None,
        description="Its square on the schematic map of incident pages: [column, row] from the top left, north above. "
        "Without one the district stands in the list only.",
    )
    streets: tuple[Street, ...] = Field((), description="Streets and towns of the district.")

    @property
    def short(self) -> str:
        """历下 of 历下区."""
        return self.name[:-1] if len(self.name) > 2 else self.name


class Area(Record):
    """A functional area (高新区): no district of its own in the statistics, but an office of its own."""

    name: str = Field(min_length=2, description="Name as people write it.")
    aliases: tuple[str, ...] = Field((), description="Other names that people write.")
    within: tuple[str, ...] = Field((), description="Districts it lies in, main one first.")


class Named(Record):
    """An estate, school, company ... that a pattern would miss or that goes by several names."""

    kind: Literal["estate", "school", "hospital", "road", "village", "organisation"] = Field(
        description="What it is."
    )
    name: str = Field(min_length=3, description="Full name: 泉城外国语学校.")
    aliases: tuple[str, ...] = Field((), description="Other names that people write: 泉外.")
    district: str = Field("", description="District it lies in; empty when it lies in several.")


class Places(Record):
    """All places of the city."""

    city: str = Field(min_length=2, pattern=r"市$", description="Name of the city.")
    code: str = Field(pattern=r"^\d{6}$", description="Administrative division code of the city.")
    aliases: tuple[str, ...] = Field((), description="Other names of the city.")
    districts: tuple[District, ...] = Field(min_length=1, description="Districts and counties.")
    areas: tuple[Area, ...] = Field((), description="Functional areas that cross districts.")
    named: tuple[Named, ...] = Field((), description="Estates, schools, companies ... with their aliases.")

    @field_validator("districts")
    @classmethod
    def _each_once(cls, districts: tuple[District, ...]) -> tuple[District, ...]:
        for what, names in (
            ("name", [d.name for d in districts]),
            ("code", [d.code for d in districts] + [s.code for d in districts for s in d.streets]),
        ):
            if twice := repeated(names):
                raise ValueError(f"{what} stands here twice: {', '.join(twice)}")
        return districts

    @model_validator(mode="after")
    def _areas_lie_somewhere(self) -> Places:
        known = {d.name for d in self.districts}
        for area in self.areas:
            if unknown := [name for name in area.within if name not in known]:
                raise ValueError(f"area {area.name} lies in unknown districts: {', '.join(unknown)}")
        for place in self.named:
            if place.district and place.district not in known:
                raise ValueError(f"{place.name} lies in an unknown district: {place.district}")
            if short := [form for form in place.aliases if len(form) < 2]:
                raise ValueError(f"{place.name} has an alias of one character: {', '.join(short)}")
        cells = [f"{one.cell[0]}, {one.cell[1]}" for one in self.districts if one.cell]
        if twice := repeated(cells):
            raise ValueError(f"two districts on one square of the map: [{'], ['.join(twice)}]")
        # one word for two places would put a post into the wrong district
        forms = [form for place in self.named for form in (place.name, *place.aliases)]
        if twice := repeated(forms):
            raise ValueError(f"named twice: {', '.join(twice)}")
        return self

    @cached_property
    def _by_name(self) -> dict[str, District]:
        table = {d.short: d for d in self.districts}
        table |= {alias: d for d in self.districts for alias in d.aliases}
        return table | {d.name: d for d in self.districts}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the districts, in the file's order."""
        return tuple(d.name for d in self.districts)

    def district(self, name: str) -> District | None:
        """The district of a name, short name or alias; None if the city has none of that name."""
        return self._by_name.get(name.strip())

    def streets(self) -> tuple[tuple[District, Street], ...]:
        """Every street with its district. Short names can repeat: 舜玉 stands once, 山 names do not."""
        return tuple((d, s) for d in self.districts for s in d.streets)


def load_places(path: Path) -> Places:
    """Read a places file. Raises ConfigError with one entry per wrong value."""
    return parse(Places, read_yaml(path))
