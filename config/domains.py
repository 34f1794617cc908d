"""The 15 subjects a post can be about, as judgements name them, and where the rule file speaks of each.

The judgement's names are those of people's concerns (就学, 食品安全); the notice's rule file is cut along departments
(food_drug, elderly_care). `rule_domain` is the bridge; None: the notice has no paragraph on it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Domain:
    """One subject. `watched`: on the notice's monitoring list, part 五(二)."""

    id: str
    zh: str
    en: str
    rule_domain: str | None
    watched: bool = False


DOMAINS: tuple[Domain, ...] = (
    Domain("schooling", "就学", "Schooling", "schooling", watched=True),
    Domain("housing", "住房", "Housing", "housing", watched=True),
    Domain("food_safety", "食品安全", "Food safety", "food_drug", watched=True),
    Domain("health", "就医", "Health care", "health", watched=True),
    Domain("work_safety", "安全生产", "Work safety", "work_safety", watched=True),
    Domain("disaster", "防灾减灾", "Disaster prevention", "disaster", watched=True),
    Domain("elderly", "养老", "Care of the elderly", "elderly_care", watched=True),
    Domain("environment", "环境", "Environment", "environment"),
    Domain("transport", "交通", "Transport", None),
    Domain("labour", "劳动", "Labour", None),
    Domain("security", "治安", "Public security", None),
    Domain("services", "政务服务", "Public services", "service_hall"),
    Domain("market", "市场", "Market", None),
    Domain("other", "其他", "Other", None),
    Domain("none", "无", "None", None),
)
BY_ID: dict[str, Domain] = {domain.id: domain for domain in DOMAINS}
IDS: tuple[str, ...] = tuple(BY_ID)


def domain_label(domain: str, language: str = "zh_CN") -> str:
    """The name for people; an id that is not known is shown as it is."""
    known = BY_ID.get(domain)
    if known is None:
        return domain
    return known.en if language.startswith("en") else known.zh


def rule_domain(domain: str) -> str | None:
    """The rule file's id for a judgement's domain, None where the notice has no paragraph on it."""
    known = BY_ID.get(domain)
    return known.rule_domain if known else None
