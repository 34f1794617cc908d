"""Routes: which incident is told to whom through which channel. The first route that matches wins."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from config.domains import IDS
from config.files import Record, parse, read_yaml, repeated
from config.roster import ROLES

Channel = Literal[
    "slack", "email", "wecom_app", "feishu_app", "wecom", "dingtalk", "feishu", "webhook", "folder"
]
CHANNELS: tuple[Channel, ...] = (
    "slack",
    "email",
    "wecom_app",
    "feishu_app",
    "wecom",
    "dingtalk",
    "feishu",
    "webhook",
    "folder",
)
Level = Literal["general", "serious", "major", "critical"]


class Match(Record):
    """What an incident must be. An empty list matches everything; all lists have to match."""

    domains: tuple[str, ...] = Field((), description="Domains of judgements.")
    districts: tuple[str, ...] = Field((), description="Names of districts (历下区).")
    levels: tuple[Level, ...] = Field((), description="Grades: general, serious, major, critical.")
    tracks: tuple[Literal["fast", "burst", "manual"], ...] = Field((), description="How it was noticed.")

    @field_validator("domains")
    @classmethod
    def _domains(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in value if name not in IDS]:
            raise ValueError(f"no such domain: {', '.join(unknown)}; expected {', '.join(IDS)}")
        return value

    @property
    def everything(self) -> bool:
        """Whether it matches whatever comes."""
        return not (self.domains or self.districts or self.levels or self.tracks)

    def holds(self, domain: str, district: str, level: str, track: str) -> bool:
        """Whether an incident is such a one."""
        return all(
            not wanted or given in wanted
            for wanted, given in (
                (self.domains, domain),
                (self.districts, district),
                (self.levels, level),
                (self.tracks, track),
            )
        )


class Route(Record):
    """One line of the table."""

    name: str = Field(min_length=1, description="Name in messages and logs.")
    match: Match = Field(Match(), description="Which incidents.")
    channels: tuple[Channel, ...] = Field(
        ("slack", "email"),
        min_length=1,
        description="Channels in order; one that is not set up is passed over, the local folder is always there.",
    )
    ladder: tuple[str, ...] = Field(
        ROLES, min_length=1, description="Rungs, each a role of the roster or a person id."
    )
    copy_to: tuple[str, ...] = Field(
        (),
        description="Person ids or mail addresses that get the first message too, without having to acknowledge.",
    )
    slack_channel: str = Field(
        "", pattern=r"^$|^[CG][A-Z0-9]+$", description="Slack channel id instead of slack.channel."
    )
    required: tuple[Literal["primary", "secondary", "leader"], ...] = Field(
        (),
        description="Roles that all have to acknowledge before the ladder ends; left out: the first acknowledgement ends it.",
    )
    robots: dict[str, str] = Field(
        {},
        description="Robot or target to use by channel (wecom, dingtalk, feishu, webhook); left out: the first one of the settings.",
    )
    tell_department: bool = Field(
        False, description="Whether the suggested department's office gets the first message too."
    )

    @model_validator(mode="after")
    def _required_are_asked(self) -> Route:
        if missing := [role for role in self.required if role not in self.ladder]:
            raise ValueError(f"required names {', '.join(missing)}, whom the ladder never asks")
        return self


class Routes(Record):
    """The table. Its last route matches everything, so that nobody is forgotten."""

    routes: tuple[Route, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _last_takes_all(self) -> Routes:
        if not self.routes[-1].match.everything:
            raise ValueError("the last route must match everything: give it no `match`")
        for route in self.routes[:-1]:
            if route.match.everything:
                raise ValueError(f"route {route.name} matches everything, so no route after it is ever used")
        if twice := repeated([route.name for route in self.routes]):
            raise ValueError(f"the name stands here twice: {', '.join(twice)}")
        return self

    def find(self, domain: str, district: str, level: str, track: str = "") -> Route:
        """The first route that matches; there always is one."""
        return next(r for r in self.routes if r.match.holds(domain, district, level, track))


def load_routes(path: Path) -> Routes:
    """Read routes.yaml. Raises ConfigError with one entry per wrong value."""
    return parse(Routes, read_yaml(path))
