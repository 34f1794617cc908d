"""The legal rules of a city, typed: who leads which domain, which duty runs how long, under which clause, word for word.

The file is data: nothing here knows Jinan. `RuleSet.rule("R03")` is the one view that clocks and messages use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from config.deadlines import Amount, Deadline, Unit, parse_amount, parse_deadline
from config.files import Document, Record, parse, read_yaml, repeated
from config.settings import ConfigError
from config.sources import WayIn

#: notice: verbatim in the city's notice; law: verbatim in a law; page: verbatim in a public page that reports the
#: document; memory: not found, to be checked; proposed: this project's own choice, not law.
Basis = Literal["notice", "law", "page", "memory", "proposed"]
Kind = Literal["obligation", "response", "hotline"]

_START = "Event that starts the clock: detected, confirmed, assigned, signed, told (the caller was told a date), or external (a date entered by hand)."
_STOP = "Event that stops the clock: informed, press_held, responded, closed, signed, assigned, returned, or external."
Moment = Literal[
    "detected",
    "confirmed",
    "assigned",
    "signed",
    "returned",
    "informed",
    "press_held",
    "told",
    "responded",
    "evaluated",
    "closed",
    "external",
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
    ways: tuple[WayIn, ...] = Field(
        (), description="Ways in (`way` of a source) whose matters open this clock by themselves."
    )
    extends: str | None = Field(None, description="Rule to which this one's extension belongs.")
    approved_by: tuple[str, ...] = Field(
        ("leader", "supervisor"), description="Roles of the console that may grant the extension."
    )
    interval: Literal["monthly", "quarterly", "annual"] | None = Field(
        None,
        description="For 定期 without a number: how often it is asked for here. Our own proposal, not law.",
    )
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


class Part(Record):
    """A further time in the same clause, with a clock of its own (R07: five working days to object)."""

    deadline: str = Field(description="PT5H, P5WD, P60D.")
    action: str = Field("", description="What has to be done; empty: that of the rule.")
    starts_on: Moment = Field("external", description=_START)
    stops_on: Moment = Field("external", description=_STOP)
    ways: tuple[WayIn, ...] = Field((), description="Ways in that open it by themselves.")
    quote: str = Field("", description="Its words; empty: the number is known from memory only.")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        """`reject: P5WD` alone is known and shown, but no event opens it."""
        return {"deadline": value} if isinstance(value, str) else value

    @field_validator("deadline")
    @classmethod
    def _counts(cls, value: str) -> str:
        parse_amount(value)
        return value


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
    reject: Part | None = Field(None, description="Time to refuse the transfer.")
    mediation: Part | None = Field(None, description="Time to end the mediation.")
    report_check: Part | None = Field(None, description="Time to check a report.")


class HotlineRule(_Entry):
    """A duty of the 12345 hotline."""

    id: str = Field(pattern=r"^H\d\d$", description="H01 to H99.")
    units: tuple[str, ...] = Field((), description="Units of a duty that comes back every month (H09).")


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
    ways: tuple[str, ...] = ()
    extends: str | None = None
    approved_by: tuple[str, ...] = ()
    interval: str | None = None  # monthly, quarterly, annual: our own proposal for 定期
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
            extra = {name: parse_amount(part.deadline) for name, part in given.items() if part}
            table[rule.id] = _view(rule, "response", rule.applies, source, levels=rule.levels, extra=extra)
            for name, part in given.items():
                if part is not None:
                    table[f"{rule.id}.{name}"] = _part_view(table[rule.id], name, part)
        for line in self.hotline_rules:
            table[line.id] = _view(line, "hotline", "12345热线", source, units=line.units)
        return table

    def rule(self, rule_id: str) -> Rule:
        """The rule of an id (`R03`, `H01`, `S02`). Raises KeyError with a sentence."""
        try:
            return self._rules[rule_id]
        except KeyError:
            raise KeyError(f"no rule {rule_id}; the rule file has {', '.join(self._rules)}") from None

    def rules(self, kind: Kind | None = None) -> tuple[Rule, ...]:
        """All rules, or those of one kind, in the file's order; further times of a rule (R07.reject) are left out."""
        return tuple(
            rule for rule in self._rules.values() if "." not in rule.id and kind in (None, rule.kind)
        )

    def opened_by(self, moment: str, level: str) -> tuple[Rule, ...]:
        """Countable rules whose clock an event opens by itself for an incident of this grade."""
        return tuple(
            r for r in self._rules.values() if r.starts_on == moment and level in r.levels and r.countable
        )

    def opened_by_way(self, moment: str, ways: Collection[str]) -> tuple[Rule, ...]:
        """Countable rules whose clock an event opens by itself for matters that came on one of these ways."""
        return tuple(
            rule
            for rule in self._rules.values()
            if rule.starts_on == moment and rule.countable and not set(rule.ways).isdisjoint(ways)
        )

    def extension_of(self, rule_id: str) -> Rule | None:
        """The rule whose clause lets the clock of `rule_id` be extended: itself, or one that `extends` it."""
        own = self._rules.get(rule_id)
        if own is not None and own.extension is not None and own.amount is not None:
            return own
        return next(
            (rule for rule in self._rules.values() if rule.extends == rule_id and rule.extension), None
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
        ways=entry.ways,
        extends=entry.extends,
        approved_by=entry.approved_by,
        interval=entry.interval,
        domain=domain,
        units=units,
        extra=extra or {},
        basis=entry.basis,
        source=entry.source or (notice if entry.basis == "notice" else ""),
        quote=entry.quote,
    )


def _part_view(rule: Rule, name: str, part: Part) -> Rule:
    due = parse_deadline(part.deadline)
    amount = parse_amount(part.deadline)
    return rule.model_copy(
        update={
            "id": f"{rule.id}.{name}",
            "action": part.action or rule.action,
            "unit": amount.unit,
            "amount": amount.amount,
            "extension": None,
            "deadline": due,
            "starts_on": part.starts_on,
            "stops_on": part.stops_on,
            "levels": (),
            "ways": part.ways,
            "extends": None,
            "extra": {},
            "basis": rule.basis if part.quote else "memory",
            "quote": part.quote,
        }
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
            if entry.extends is not None and entry.extends not in everything:
                problems.append(
                    document.problem((group, i, "extends"), "no such rule in this file", entry.extends)
                )
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
