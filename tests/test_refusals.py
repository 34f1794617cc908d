"""What this software refuses to be: no profile of a citizen, no takedown, no impolite crawler, no automatic punishment."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from config.settings import Settings
from incidents.models import Base
from incidents.states import Command

ROOT = Path(__file__).parent.parent
ROOMS = ("alerts", "analysis", "commands", "config", "console", "incidents", "reports", "spiders")


def names_defined() -> set[str]:
    """Every function and class name of the product."""
    found = set()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            found |= {
                node.name
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            }
    return found


def test_no_table_is_keyed_by_a_person_who_posts() -> None:
    holders = {
        table.name
        for table in Base.metadata.tables.values()
        for column in table.columns
        if "author" in column.name
    }
    assert holders == {"post"}, "a pseudonym may stand with a post and nowhere else"
    post = Base.metadata.tables["post"]
    keyed = {column.name for index in post.indexes for column in index.columns} | {
        column.name for column in post.primary_key
    }
    assert "author_key" not in keyed, "an index over authors would make searching for a person cheap"


def test_no_column_can_hold_who_a_citizen_is() -> None:
    forbidden = re.compile(
        r"nick|avatar|gender|phone|mobile|id_card|ip_addr|\bip\b|real_name|follower|profile"
    )
    columns = {
        f"{table.name}.{column.name}" for table in Base.metadata.tables.values() for column in table.columns
    }
    assert len(columns) > 100
    assert {name for name in columns if forbidden.search(name)} == set()


def test_no_function_profiles_silences_or_reports_a_citizen() -> None:
    forbidden = re.compile(
        r"takedown|take_down|censor|profile_of|user_score|author_score|report_user|report_to_police|ban_|captcha_solv|solve_captcha|fake_account",
        re.IGNORECASE,
    )
    names = names_defined()
    assert len(names) > 300
    assert {name for name in names if forbidden.search(name)} == set()


def test_robots_and_delay_cannot_be_switched_off() -> None:
    crawl = type(Settings.model_fields["crawl"].default)
    assert not [name for name in crawl.model_fields if "robots" in name and "ttl" not in name]
    ttl = crawl.model_fields["robots_ttl_h"]
    assert any(getattr(rule, "le", None) == 24 for rule in ttl.metadata), "RFC 9309: 24 hours at most"


def test_no_command_punishes_an_official() -> None:
    commands = {kind.__name__ for kind in Command.__args__}
    assert not {name for name in commands if re.search(r"punish|dismiss|fine|penal", name, re.IGNORECASE)}


def test_no_route_is_about_a_citizen() -> None:
    routes = []
    for path in (ROOT / "console").rglob("*.py"):
        routes += re.findall(r"@\w+\.(?:get|post|put|delete)\(\s*\"([^\"]+)\"", path.read_text())
    assert len(routes) > 10
    assert [route for route in routes if re.search(r"author|citizen|user/|people|person/", route)] == []
