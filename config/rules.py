"""The legal rules of a city, typed: who leads which domain, which duty runs how long, under which clause, word for word.

The file is data: nothing here knows Jinan. `RuleSet.rule("R03")` is the one view that clocks and messages use.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from config.deadlines import Amount, Deadline, Unit, parse_amount, parse_deadline
from config.files import Document, Record, parse, read_yaml, repeated
from config.settings import ConfigError

#: notice: verbatim in the city's notice; law: verbatim in a law; page: verbatim in a public page that reports the
#: document; memory: not found, to be checked; proposed: this project's own choice, not law.
Basis = Literal["notice", "law", "page", "memory", "proposed"]
Kind = Literal["obligation", "response", "hotline"]

_START = "Event that starts the clock: detected (default of responses), confirmed, assigned, or external (a date entered by hand)."
_STOP = "Event that stops the clock: responded, closed, signed, returned, or external."
Moment = Literal[
    "detected", "confirmed", "assigned", "signed", "returned", "responded", "evaluated", "closed", "external"
]


class Meta(Record):
    """What the rule set was made from."""

    notice: str = Field(min_length=1, description="Document number of the notice.")
    notice_date: str = Field(pattern=r"^\d{4}-\d\d-\d\d$", description="Its date.")
    timezone: str = Field("Asia/Shanghai", description="Zone of all its days.")


class ClockNote(Record):
    """How one unit of time is counted, with the clause that says so."""

    runs: str = Field(description="Which time counts.")
    start: str = Field("", description="The instant from which it runs.")
    start_rule: str = Field("", description="How the first day counts.")
    end_rule: str = Field("", description="When the last day ends.")
    basis: Basis = Field("proposed", description="How firm this is.")
    source: str = Field("", description="Law and article.")
    quote: str = Field("", description="Its words.")


class RuleDomain(Record):
    """A field of duty of the notice and the departments that lead it, then and now."""

    id: str = Field(pattern=r"^[a-z][a-z_]*$")
    zh: str = Field(min_length=1)
    in_monitor_list: bool
    lead_2018: tuple[str, ...] = Field(min_length=1, description="Names as the notice has them.")
    lead_now: tuple[str, ...] = Field(min_length=1, description="Names of today.")
    local: str | None = Field(description="Collective name of local governments with a share, null for none.")
    mode: str = Field(description="分别负责, 牵头, 按职责分工分别牵头.")
    basis: Basis
    section: str
    quote: str = Field(min_length=4)


class _Entry(Record):
    """What obligations, response rules and hotline rules have in common."""

    id: str = Field(description="Id of the rule.")
    action: str = Field(min_length=2, description="What has to be done.")
    deadline: str = Field("", description="PT5H, P5WD, P60D, monthly, a date, or the law's own word.")
    extension: str | None = Field(None, description="May be added once.")
    extension_to: str | None = Field(None, description="Longest in all, where the law gives the sum.")
    clock: Unit | None = Field(None, description="Unit in which it runs; must fit the deadline.")
    starts_on: Moment = Field("external", description=_START)
    stops_on: Moment = Field("external", description=_STOP)
    basis: Basis = Field(description="How firm it is: notice, law, page, memory, proposed.")
    source: str = Field("", description="Law and article, or page; required for law and page.")
    quote: str = Field(min_length=3, description="The clause, word for word.")

    @cached_property
    def due(self) -> Deadline:
        """The deadline in typed form."""
        return parse_deadline(self.deadline, extension=self.extension, total=self.extension_to)

    @model_validator(mode="after")
    def _clock_fits(self) -> _Entry:
        due = self.due
        stated = due.amount or due.extension
        if stated is not None and self.clock is not None and self.clock != stated.unit:
            raise ValueError(
                f"clock {self.clock} does not fit the deadline {self.deadline or self.extension}: that is {stated.unit}"
            )
        if not self.deadline and self.extension is None:
            raise ValueError("a rule needs `deadline` or `extension`")
        if self.basis in ("law", "page") and not self.source:
            raise ValueError(f"basis {self.basis} needs `source`: the law and its article, or the page")
        return self


class Obligation(_Entry):
    """A dated or countable duty of the notice."""

    id: str = Field(pattern=r"^S\d\d$", description="S01 to S99.")
    domain: str = Field(description="A domain of this file, or `all`.")
    trigger: str = Field(min_length=1, description="What sets it off.")
    units: tuple[str, ...] = Field(min_length=1, description="Units in the notice's brackets.")


class ResponseRule(_Entry):
    """How fast somebody has to be answered."""

    id: str = Field(pattern=r"^R\d\d$", description="R01 to R99.")
    applies: str = Field(min_length=1, description="To what it applies.")
    levels: tuple[Literal["general", "serious", "major", "critical"], ...] = Field(
        (),
        description="Grades of an incident whose detection opens this clock by itself; empty: never by itself.",
    )
    reject: str | None = Field(None, description="Time to refuse the transfer.")
    mediation: str | None = Field(None, description="Time to end the mediation.")
    report_check: str | None = Field(None, description="Time to check a report.")

    @field_validator("reject", "mediation", "report_check")
    @classmethod
    def _amounts(cls, value: str | None) -> str | None:
        if value is not None:
            parse_amount(value)
        return value


class HotlineRule(_Entry):
    """A duty of the 12345 hotline."""

    id: str = Field(pattern=r"^H\d\d$", description="H01 to H99.")


class Escalation(Record):
    """One rung of the accountability ladder L0 to L7."""

    level: str = Field(pattern=r"^L\d$")
    name: str = Field(min_length=1)
    when: str = Field(min_length=1)
    approver: str = Field(min_length=1, description="Who has to approve; 系统: nobody.")
    basis: Basis
    source: str = ""
    quote: str | None

    @property
    def rank(self) -> int:
        """0 for L0 to 7 for L7."""
        return int(self.level[1:])

    @property
    def needs_approver(self) -> bool:
        """Whether a named human has to approve; software proposes, it does not decide."""
        return self.approver != "系统"

    @property
    def proposal_only(self) -> bool:
        """Whether the product may only propose it (约谈, 移交): acts of accountability."""
        return "建议" in self.name


class Rule(Record):
    """The common view of an obligation, a response rule or a hotline rule."""

    id: str
    kind: Kind
    action: str
    applies: str
    unit: Unit
    amount: int | None = None  # hours, working days or natural days, as `unit` says
    extension: int | None = None  # same unit; may be added once
    deadline: Deadline
    starts_on: str
    stops_on: str
    levels: tuple[str, ...] = ()
    domain: str | None = None
    units: tuple[str, ...] = ()
    extra: dict[str, Amount] = Field({}, description="Further times: reject, mediation, report_check.")
    basis: Basis
    source: str
    quote: str

    @property
    def countable(self) -> bool:
        """Whether a due instant can be computed from a starting one."""
        return self.amount is not None

    @property
    def limit_zh(self) -> str:
        """5小时 / 5个工作日 / the rule's own words."""
        return self.deadline.amount.zh if self.deadline.amount else (self.deadline.raw or "未定")


class RuleSet(Record):
    """Everything in the rule file."""

    meta: Meta
    clocks: dict[str, ClockNote]
    domains: tuple[RuleDomain, ...] = Field(min_length=1)
    obligations: tuple[Obligation, ...] = ()
    response_rules: tuple[ResponseRule, ...] = Field(min_length=1)
    hotline_rules: tuple[HotlineRule, ...] = ()
    escalation: tuple[Escalation, ...] = ()
    version: str = Field("", description="First 12 digits of the file's SHA-256: filled in on reading.")

    @cached_property
    def _rules(self) -> dict[str, Rule]:
        names = {domain.id: domain.zh for domain in self.domains}
        source = self.meta.notice
        table: dict[str, Rule] = {}
        for duty in self.obligations:
            applies = names.get(duty.domain, "各领域")
            table[duty.id] = _view(
                duty, "obligation", f"{applies}: {duty.trigger}", source, domain=duty.domain, units=duty.units
            )
        for rule in self.response_rules:
            given = {"reject": rule.reject, "mediation": rule.mediation, "report_check": rule.report_check}
            extra = {name: parse_amount(text) for name, text in given.items() if text}
            table[rule.id] = _view(rule, "response", rule.applies, source, levels=rule.levels, extra=extra)
        for line in self.hotline_rules:
            table[line.id] = _view(line, "hotline", "12345热线", source)
        return table

    def rule(self, rule_id: str) -> Rule:
        """The rule of an id (`R03`, `H01`, `S02`). Raises KeyError with a sentence."""
        try:
            return self._rules[rule_id]
        except KeyError:
            raise KeyError(f"no rule {rule_id}; the rule file has {', '.join(self._rules)}") from None

    def rules(self, kind: Kind | None = None) -> tuple[Rule, ...]:
        """All rules, or those of one kind, in the file's order."""
        return tuple(rule for rule in self._rules.values() if kind is None or rule.kind == kind)

    def opened_by(self, moment: str, level: str) -> tuple[Rule, ...]:
        """Countable rules whose clock an event opens by itself for an incident of this grade."""
        return tuple(
            r for r in self._rules.values() if r.starts_on == moment and level in r.levels and r.countable
        )

    def domain(self, domain_id: str) -> RuleDomain | None:
        """A domain of the rule file by its own id."""
        return next((domain for domain in self.domains if domain.id == domain_id), None)

    def rung(self, level: str) -> Escalation | None:
        """A rung of the ladder, `L0` to `L7`."""
        return next((rung for rung in self.escalation if rung.level == level), None)


def _view(
    entry: _Entry,
    kind: Kind,
    applies: str,
    notice: str,
    *,
    domain: str | None = None,
    units: tuple[str, ...] = (),
    levels: tuple[str, ...] = (),
    extra: dict[str, Amount] | None = None,
) -> Rule:
    due = entry.due
    stated = due.amount or due.extension
    return Rule(
        id=entry.id,
        kind=kind,
        action=entry.action,
        applies=applies,
        unit=entry.clock or (stated.unit if stated else "none"),
        amount=due.amount.amount if due.amount else None,
        extension=due.extension.amount if due.extension else None,
        deadline=due,
        starts_on=entry.starts_on,
        stops_on=entry.stops_on,
        levels=levels,
        domain=domain,
        units=units,
        extra=extra or {},
        basis=entry.basis,
        source=entry.source or (notice if entry.basis == "notice" else ""),
        quote=entry.quote,
    )


def _cross_problems(rules: RuleSet, document: Document) -> list[str]:
    """What no single entry can see: repeated ids, unknown domains, references to rules that are not there."""
    problems: list[str] = []
    groups = {
        "domains": [d.id for d in rules.domains],
        "obligations": [r.id for r in rules.obligations],
        "response_rules": [r.id for r in rules.response_rules],
        "hotline_rules": [r.id for r in rules.hotline_rules],
        "escalation": [r.level for r in rules.escalation],
    }
    for group, ids in groups.items():
        problems += [document.problem((group,), f"the id {name} stands here twice") for name in repeated(ids)]
    known = {*groups["domains"], "all"}
    for i, duty in enumerate(rules.obligations):
        if duty.domain not in known:
            problems.append(
                document.problem(("obligations", i, "domain"), "no such domain in this file", duty.domain)
            )
    everything = {*groups["obligations"], *groups["response_rules"], *groups["hotline_rules"]}
    for group, entries in (
        ("obligations", rules.obligations),
        ("response_rules", rules.response_rules),
        ("hotline_rules", rules.hotline_rules),
    ):
        for i, entry in enumerate(entries):
            missing = [name for name in entry.due.refers_to if name not in everything]
            problems += [
                document.problem((group, i, "deadline"), f"no rule {name} in this file", entry.deadline)
                for name in missing
            ]
    if [rung.rank for rung in rules.escalation] != sorted(rung.rank for rung in rules.escalation):
        problems.append(document.problem(("escalation",), "the rungs must ascend: L0, L1, ..."))
    return problems


def load_rules(path: Path) -> RuleSet:
    """Read a rule file. Raises ConfigError with one entry per wrong value."""
    document = read_yaml(path)
    rules = parse(RuleSet, document)
    if problems := _cross_problems(rules, document):
        raise ConfigError(problems)
    return rules.model_copy(update={"version": hashlib.sha256(path.read_bytes()).hexdigest()[:12]})
