"""Departments, their duties, and the proposal who handles an incident.

Names change (the 2019 reform renamed half of them): the id stays, `name` is today's, `name_2018` the one that the
notice uses. A suggestion is a proposal with its clause; a person assigns.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from config.domains import IDS, domain_label
from config.files import Document, Record, parse, read_yaml, repeated
from config.rules import Basis
from config.settings import ConfigError
from config.units import Named, UnitReader


class Contact(Record):
    """Where the department is told. An office, never a person."""

    email: str = Field("", pattern=r"^$|^[^@\s]+@[^@\s]+$", description="Mail address of the office on duty.")
    slack_channel: str = Field("", pattern=r"^$|^[CG][A-Z0-9]+$", description="Slack channel id (C...).")
    robots: tuple[str, ...] = Field((), description="Names of group robots in routes.yaml.")


class Department(Record):
    """One unit that handles matters."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{1,59}$", description="Stable id in events; never renamed.")
    name: str = Field(min_length=2, description="Name of today.")
    name_2018: tuple[str, ...] = Field((), description="Names under which the notice of 2018 speaks of it.")
    aliases: tuple[str, ...] = Field(
        (),
        description="Other names that people write (食药局), besides those above without their 市; a complaint is recognised by them.",
    )
    kind: Literal["city", "district", "area", "supervision"] = Field(
        "city",
        description="city: department of the city; district: government of a district; area: office of a functional area; supervision: supervises others.",
    )
    districts: tuple[str, ...] = Field(
        (), description="Districts it is responsible for; empty: the whole city."
    )
    superior: str = Field("", description="Department id above it; empty: the supervising unit.")
    source: str = Field("", description="Evidence for today's name.")
    contact: Contact = Field(Contact(), description="Where it is told.")

    @property
    def zh(self) -> str:
        """Name of today."""
        return self.name


class Duty(Record):
    """Who leads a domain, and the clause that says so."""

    domain: str = Field(description="Domain of judgements.")
    lead: str = Field(description="Department id that leads.")
    co: tuple[str, ...] = Field((), description="Department ids that help, first one next in line.")
    mode: str = Field("", description="The notice's word: 分别负责, 牵头.")
    basis: Basis = Field("proposed", description="Where it comes from.")
    source: str = Field("", description="Document and section.")
    quote: str = Field("", description="The clause, word for word.")

    @field_validator("domain")
    @classmethod
    def _domain(cls, value: str) -> str:
        if value not in IDS or value == "none":
            raise ValueError(f"expected one of {', '.join(name for name in IDS if name != 'none')}")
        return value


@dataclass(frozen=True)
class Suggestion:
    """A proposal who handles an incident. `reason` is for people and quotes the clause; `basis` says how firm it is.

    `conflict`: somebody was passed over because the complaint is about them. `unresolved`: everybody who might handle
    it is complained of, the supervising unit too; a superior body has to name a handler.
    """

    department: Department
    co: tuple[Department, ...]
    reason: str
    basis: Basis
    district_government: Department | None = None
    conflict: bool = False
    unresolved: bool = False
    reason_en: str = ""

    def why(self, language: str) -> str:
        """The reason for readers of a language; names and the clause stay Chinese."""
        return self.reason_en if language.startswith("en") and self.reason_en else self.reason


_WORDS: dict[str, dict[str, str]] = {
    "zh_CN": {
        "lead": "{domain}类事项由{name}牵头",
        "handle": "{domain}类事项由{name}办理",
        "clause": "依据 {clause}",
        "proposed": "建议, 非法定",
        "proposed_clause": "建议, 非法定: {clause}",
        "old": "2018年通知中称 {names}",
        "local": "属地: {name}",
        "conflict": "回避: 诉求涉及{names}, 不由其办理{law}",
        "unresolved": "没有可以回避后承办的单位, 请上级机关指定",
        "quote": "{source}: “{quote}”",
        "law": " ({quote})",
        "comma": "、",
    },
    "en": {
        "lead": "{domain}: {name} leads",
        "handle": "{domain}: {name} handles",
        "clause": "under {clause}",
        "proposed": "a proposal, not law",
        "proposed_clause": "a proposal, not law: {clause}",
        "old": "in the notice of 2018: {names}",
        "local": "local government: {name}",
        "conflict": "passed over because the complaint is about them: {names}{law}",
        "unresolved": "nobody is left who is not complained of; a superior body has to name a handler",
        "quote": "{source} “{quote}”",
        "law": " ({quote})",
        "comma": ", ",
    },
}


class Departments(Record):
    """All departments and duties of the city."""

    departments: tuple[Department, ...] = Field(min_length=1, description="All units.")
    duties: tuple[Duty, ...] = Field(min_length=1, description="Who leads which domain.")
    supervision: str = Field(
        description="Department id that supervises all others and takes what nobody else may."
    )
    conflict_source: str = Field(
        "", description="Law that forbids handing a complaint to the unit complained of."
    )
    conflict_quote: str = Field("", description="Its words.")
    city: tuple[str, ...] = Field(
        ("济南市", "济南"), description="How the own city is written before a unit's name."
    )
    elsewhere: tuple[str, ...] = Field(
        (), description="Names that make a following 教育局 somebody else's: 省, 国家, other cities."
    )

    @cached_property
    def _by_id(self) -> dict[str, Department]:
        return {department.id: department for department in self.departments}

    @cached_property
    def _by_domain(self) -> dict[str, Duty]:
        return {duty.domain: duty for duty in self.duties}

    @cached_property
    def _by_name(self) -> dict[str, Department]:
        table = {name: d for d in self.departments for name in d.name_2018}
        return table | {d.name: d for d in self.departments}

    @cached_property
    def reader(self) -> UnitReader:
        """Finds whom texts complain about, by the names of this file."""
        return UnitReader(
            [Named(d.id, d.kind, (d.name, *d.name_2018), d.aliases, d.districts) for d in self.departments],
            elsewhere=self.elsewhere,
            city=self.city,
        )

    def get(self, department_id: str) -> Department | None:
        """The department of an id."""
        return self._by_id.get(department_id)

    def named(self, name: str) -> Department | None:
        """The department of a name, today's or the notice's."""
        return self._by_name.get(name.strip())

    def zh(self, department_id: str) -> str:
        """The name of an id; the id itself if it is not (any longer) in the file."""
        found = self._by_id.get(department_id)
        return found.name if found else department_id

    def government_of(self, district: str) -> Department | None:
        """The government of a district, or the office of a functional area (`济南高新区`)."""
        found = (
            d
            for d in self.departments
            if (d.kind == "district" and district in d.districts)
            or (d.kind == "area" and f"{district}管委会" in (d.name, *d.aliases))
        )
        return next(found, None)

    def duty(self, domain: str) -> Duty | None:
        """Who leads a domain; the duty of `other` for one that has none."""
        return self._by_domain.get(domain) or self._by_domain.get("other")

    def suggest(
        self, domain: str, district: str = "", *, complained_about: Collection[str] = ()
    ) -> Suggestion:
        """Lead department, helpers and the district's government for an incident, with the clause.

        Departments in `complained_about` (ids) neither handle nor help: the next in line does, then the superior,
        then the supervising unit (12345条例 art. 32: nothing of a complaint reaches the unit complained of).
        """
        duty = self.duty(domain)
        line = [duty.lead, *duty.co] if duty else []
        avoided = [name for name in line if self.touched(name, complained_about)]
        free = [name for name in line if name not in avoided]
        lead = free[0] if free else self._above(line, complained_about)
        government = self.government_of(district) if district else None
        if government is not None and self.touched(government.id, complained_about):
            avoided.append(government.id)
            government = None
        unresolved = self.touched(lead, complained_about)
        helpers = [self._by_id[name] for name in free if name != lead]
        if government is not None and government.id != lead:
            helpers.append(government)
        return Suggestion(
            department=self._by_id[lead],
            co=tuple(helpers),
            reason=self._reason("zh_CN", domain, lead, government, avoided, unresolved),
            reason_en=self._reason("en", domain, lead, government, avoided, unresolved),
            basis=duty.basis if duty else "proposed",
            district_government=government,
            conflict=bool(avoided),
            unresolved=unresolved,
        )

    def touched(self, department_id: str, complained_about: Collection[str]) -> bool:
        """Whether a department is complained of itself or is a part of one that is (then it may not handle either)."""
        department = self._by_id.get(department_id)
        seen: set[str] = set()
        while department is not None and department.id not in seen:
            if department.id in complained_about:
                return True
            seen.add(department.id)
            department = self._by_id.get(department.superior)
        return False

    def names(self, ids: Collection[str], language: str = "zh_CN") -> str:
        """Names of some departments in one line, in the order of this file."""
        comma = _WORDS["en" if language.startswith("en") else "zh_CN"]["comma"]
        known = [d.name for d in self.departments if d.id in ids]
        return comma.join([*known, *sorted(set(ids) - set(self._by_id))])

    def above(self, department_id: str, complained_about: Collection[str]) -> bool:
        """Whether a department stands above one that is complained of: it may handle, but nobody's identity reaches it."""
        return any(
            other.id != department_id and self.touched(other.id, {department_id})
            for other in self.departments
            if other.id in complained_about
        )

    def conflict_law(self) -> str:
        """The law that forbids it with its words, "" when the file names none."""
        if not self.conflict_source:
            return ""
        return _WORDS["zh_CN"]["quote"].format(source=self.conflict_source, quote=self.conflict_quote)

    def _above(self, line: list[str], complained_about: Collection[str]) -> str:
        """The first superior along the line that is not complained of, else the supervising unit or its superior."""
        for name in [*line, self.supervision]:
            superior = self._by_id[name].superior or self.supervision
            if not self.touched(superior, complained_about):
                return superior
        return self.supervision

    def _reason(
        self,
        language: str,
        domain: str,
        lead: str,
        government: Department | None,
        avoided: list[str],
        unresolved: bool,
    ) -> str:
        words, duty, name = _WORDS[language], self.duty(domain), self._by_id[lead].name
        leads = duty is not None and lead == duty.lead
        parts = [
            words["lead" if leads else "handle"].format(domain=domain_label(domain, language), name=name)
        ]
        if duty is not None:
            clause = (
                words["quote"].format(source=duty.source, quote=duty.quote) if duty.quote else duty.source
            )
            if duty.basis == "proposed":
                parts.append(words["proposed_clause" if clause else "proposed"].format(clause=clause))
            elif clause:
                parts.append(words["clause"].format(clause=clause))
            old = [former for former in self._by_id[duty.lead].name_2018 if former != name]
            if leads and old:
                parts.append(words["old"].format(names=words["comma"].join(old)))
        if government is not None:
            parts.append(words["local"].format(name=government.name))
        if avoided:
            names = words["comma"].join(dict.fromkeys(self._by_id[item].name for item in avoided))
            law = words["law"].format(quote=self.conflict_law()) if self.conflict_source else ""
            parts.append(words["conflict"].format(names=names, law=law))
        if unresolved:
            parts.append(words["unresolved"])
        return "; ".join(parts)


def _cross_problems(found: Departments, document: Document) -> list[str]:
    ids = [department.id for department in found.departments]
    problems = [
        document.problem(("departments",), f"the id {name} stands here twice") for name in repeated(ids)
    ]
    problems += [
        document.problem(("duties",), f"the domain {name} stands here twice")
        for name in repeated([duty.domain for duty in found.duties])
    ]
    known = set(ids)
    expected = "no such department in this file"
    for i, department in enumerate(found.departments):
        if department.superior and department.superior not in known:
            problems.append(document.problem(("departments", i, "superior"), expected, department.superior))
        if department.kind == "district" and not department.districts:
            problems.append(
                document.problem(("departments", i), "a district government needs `districts`", department.id)
            )
    for i, duty in enumerate(found.duties):
        for key, names in (("lead", (duty.lead,)), ("co", duty.co)):
            problems += [
                document.problem(("duties", i, key), expected, name) for name in names if name not in known
            ]
        if duty.basis == "notice" and not duty.quote:
            problems.append(
                document.problem(("duties", i), "basis notice needs `quote`: the clause, word for word")
            )
    if found.supervision not in known:
        problems.append(document.problem(("supervision",), expected, found.supervision))
    return problems


def load_departments(path: Path) -> Departments:
    """Read departments.yaml. Raises ConfigError with one entry per wrong value."""
    document = read_yaml(path)
    found = parse(Departments, document)
    if problems := _cross_problems(found, document):
        raise ConfigError(problems)
    return found
