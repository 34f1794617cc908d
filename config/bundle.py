"""The whole configuration as one frozen value, checked as a whole: every problem of every file is told at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from config.departments import Departments, load_departments
from config.domains import IDS, rule_domain
from config.files import DEFAULTS, Document, Location, read_yaml
from config.places import Places, load_places
from config.roster import ROLES, Roster, load_roster
from config.routes import Routes, load_routes
from config.rules import RuleSet, load_rules
from config.settings import ConfigError, Settings, load_settings
from config.sources import Source, load_sources

T = TypeVar("T")


@dataclass(frozen=True)
class Bundle:
    """Everything an operator may change, valid and consistent."""

    settings: Settings
    sources: tuple[Source, ...]
    departments: Departments
    rules: RuleSet
    roster: Roster
    routes: Routes
    places: Places

    def source(self, source_id: str) -> Source | None:
        """The source of an id."""
        return next((source for source in self.sources if source.id == source_id), None)


def config_file(folder: Path, name: str) -> Path:
    """A file of the configuration folder, or the packaged default where the folder has none.

    What stands there but is no file (a folder, a dead link) is not replaced in silence: reading it tells what is wrong.
    """
    own = folder / name
    packaged = DEFAULTS / name
    return packaged if not own.exists() and not own.is_symlink() and packaged.is_file() else own


def city_files(city: str) -> tuple[str, str]:
    """Rule file and places file of a city, relative to the configuration folder."""
    return f"rules/{city}.yaml", f"places/{city}.yaml"


def load_bundle(path: Path | None = None, **overrides: Any) -> Bundle:
    """Read quansheng.toml (`path`, default ./quansheng.toml) and every YAML file beside it.

    Raises ConfigError holding the problems of all files together, each with file, key, value and expectation.
    """
    problems: list[str] = []
    settings = _try(problems, lambda: load_settings(path, **overrides))
    folder = settings.config_dir if settings else (path.parent if path else Path()).resolve()
    rules_name, places_name = city_files(settings.city.id if settings else "jinan")

    def at(name: str) -> Path:
        return config_file(folder, name)

    sources = _try(problems, lambda: load_sources(at("sources.yaml")))
    departments = _try(problems, lambda: load_departments(at("departments.yaml")))
    rules = _try(problems, lambda: load_rules(at(rules_name)))
    roster = _try(problems, lambda: load_roster(at("roster.yaml")))
    routes = _try(problems, lambda: load_routes(at("routes.yaml")))
    places = _try(problems, lambda: load_places(at(places_name)))

    if settings is not None:
        problems += _check_settings(settings)
    if sources is not None and places is not None:
        private = settings.crawl.allow_private_hosts if settings is not None else None
        problems += _check_sources(sources, places, private, at("sources.yaml"))
    if departments is not None:
        problems += _check_departments(departments, rules, places, at("departments.yaml"))
    if routes is not None:
        problems += _check_routes(routes, roster, places, at("routes.yaml"))
    if roster is not None:
        problems += _check_roster(roster, at("roster.yaml"))
    if problems or not (
        settings and departments and rules and roster and routes and places and sources is not None
    ):
        raise ConfigError(problems)
    return Bundle(settings, sources, departments, rules, roster, routes, places)


def _try(problems: list[str], load: Callable[[], T]) -> T | None:
    try:
        return load()
    except ConfigError as exc:
        problems.extend(exc.problems)
        return None


def _check_settings(settings: Settings) -> list[str]:
    problems = [
        f"analysis.watched_domains = {name!r}: no such domain; expected one of {', '.join(IDS)}"
        for name in settings.analysis.watched_domains
        if name not in IDS
    ]
    try:
        ZoneInfo(settings.city.timezone)
    except (ValueError, KeyError, OSError):
        problems.append(
            f"city.timezone = {settings.city.timezone!r}: no such zone; expected an IANA name such as Asia/Shanghai"
        )
    if not settings.database.url and "?" in str(settings.data_path):
        problems.append(
            f"data_dir = {str(settings.data_path)!r}: a question mark would cut the database's address; choose another folder"
        )
    problems += [
        f"reports.recipients = {address!r}: expected a mail address such as zhiban@example.gov.cn"
        for address in settings.reports.recipients
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", address)
    ]
    return [f"settings: {problem}" for problem in problems]


def _unknown_districts(document: Document, at: Location, names: tuple[str, ...], places: Places) -> list[str]:
    expected = f"no such district; expected one of {', '.join(places.names)}"
    return [document.problem(at, expected, name) for name in names if name not in places.names]


def _check_sources(
    sources: tuple[Source, ...], places: Places, private: tuple[str, ...] | None, path: Path
) -> list[str]:
    document = read_yaml(path)
    problems: list[str] = []
    for i, source in enumerate(sources):
        at: Location = ("sources", i)
        if source.district_hint:
            problems += _unknown_districts(document, (*at, "district_hint"), (source.district_hint,), places)
        if not source.enabled:
            continue
        if source.host.endswith(".invalid"):
            problems.append(
                document.problem((*at, "url"), "an example's address; enter the real one", source.url)
            )
        if private is not None and _is_private(source.host) and source.host not in private:
            expected = (
                f"a private address; if that is meant, add {source.host!r} to crawl.allow_private_hosts"
            )
            problems.append(document.problem((*at, "url"), expected, source.url))
    return problems


def _is_private(host: str) -> bool:
    """Whether a host name is this machine or a private address by its look; names are looked up when crawling."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _check_departments(
    departments: Departments, rules: RuleSet | None, places: Places | None, path: Path
) -> list[str]:
    document = read_yaml(path)
    problems: list[str] = []
    if places is not None:
        for i, department in enumerate(departments.departments):
            problems += _unknown_districts(
                document, ("departments", i, "districts"), department.districts, places
            )
    if rules is None:
        return problems
    for i, duty in enumerate(departments.duties):
        named = rule_domain(duty.domain)
        domain = rules.domain(named) if named else None
        if domain is None or duty.basis != "notice":
            continue
        lead = departments.get(duty.lead)
        if lead is not None and lead.name not in domain.lead_now:
            expected = f"the rule file's domain {domain.id} is led by {', '.join(domain.lead_now)}; say basis: proposed for another"
            problems.append(document.problem(("duties", i, "lead"), expected, duty.lead))
        if duty.quote != domain.quote:
            problems.append(
                document.problem(("duties", i, "quote"), f"the rule file quotes {domain.quote!r}", duty.quote)
            )
    return problems


def _check_routes(routes: Routes, roster: Roster | None, places: Places | None, path: Path) -> list[str]:
    document = read_yaml(path)
    problems: list[str] = []
    for i, route in enumerate(routes.routes):
        if places is not None:
            problems += _unknown_districts(
                document, ("routes", i, "match", "districts"), route.match.districts, places
            )
        if roster is None:
            continue
        for name in route.ladder:
            if name not in ROLES and roster.person(name) is None:
                expected = f"expected a role ({', '.join(ROLES)}) or a person id of roster.yaml"
                problems.append(document.problem(("routes", i, "ladder"), expected, name))
        for name in route.copy_to:
            if "@" not in name and roster.person(name) is None:
                problems.append(
                    document.problem(
                        ("routes", i, "copy_to"),
                        "expected a mail address or a person id of roster.yaml",
                        name,
                    )
                )
    return problems


def _check_roster(roster: Roster, path: Path) -> list[str]:
    document = read_yaml(path)
    return [
        document.problem(
            ("people", i), "needs `email` or `slack_user`: no channel leads to this person", person.id
        )
        for i, person in enumerate(roster.people)
        if not person.reachable
    ]
