"""The rule file of Jinan and what a wrong one says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.domains import DOMAINS
from config.files import DEFAULTS
from config.rules import RuleSet, load_rules
from config.settings import ConfigError

JINAN = DEFAULTS / "rules" / "jinan.yaml"


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules(JINAN)


def _broken(tmp_path: Path, old: str, new: str) -> list[str]:
    """The problems of the Jinan file with its first `old` replaced by `new`."""
    text = JINAN.read_text("utf-8")
    assert old in text
    path = tmp_path / "jinan.yaml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_rules(path)
    return caught.value.problems


def test_nothing_of_the_rule_file_is_missing(rules: RuleSet) -> None:
    assert len(rules.domains) == 15
    assert len(rules.obligations) == 40
    assert len(rules.response_rules) == 13
    assert len(rules.hotline_rules) == 10
    assert [rung.level for rung in rules.escalation] == [f"L{n}" for n in range(8)]
    assert len(rules.rules()) == 63


def test_every_rule_quotes_its_clause_and_names_its_source(rules: RuleSet) -> None:
    for rule in rules.rules():
        assert len(rule.quote) >= 4, rule.id
        assert rule.source, rule.id
        assert "..." not in rule.quote, rule.id


@pytest.mark.parametrize(
    ("rule_id", "unit", "amount", "extension"),
    [
        ("R01", "calendar_hours", 5, None),
        ("R02", "calendar_hours", 24, None),
        ("R03", "calendar_hours", 48, None),
        ("R06", "workdays", 20, 20),
        ("R08", "natural_days", 60, 30),
        ("R09", "workdays", 7, 8),
        ("R11", "calendar_hours", 2, None),
        ("H01", "workdays", 5, None),
        ("H04", "workdays", 2, None),
        ("H05", "workdays", None, 10),
        ("S01", "calendar_hours", 24, None),
        ("S02", "workdays", 3, None),
        ("S29", "workdays", 20, 20),
    ],
)
def test_the_legal_times_are_these(
    rules: RuleSet, rule_id: str, unit: str, amount: int | None, extension: int | None
) -> None:
    rule = rules.rule(rule_id)
    assert (rule.unit, rule.amount, rule.extension) == (unit, amount, extension)


def test_each_number_stands_in_the_words_of_its_clause(rules: RuleSet) -> None:
    digits = dict(zip("一二三四五六七八九十", range(1, 11), strict=True))
    # R07 quotes the time to refuse a transfer, H03 the duty alone, S29 the words for the statute's time (R06).
    silent = {"R07", "H03", "S29"}
    for rule in rules.rules():
        if rule.amount is None or rule.id in silent:
            continue
        spelled = {zh for zh, value in digits.items() if value == rule.amount}
        assert str(rule.amount) in rule.quote or any(zh in rule.quote for zh in spelled), rule.id


def test_a_duty_that_points_to_a_statute_has_its_number(rules: RuleSet) -> None:
    assert (rules.rule("S29").amount, rules.rule("S29").extension) == (
        rules.rule("R06").amount,
        rules.rule("R06").extension,
    )


def test_the_grade_decides_which_clock_opens(rules: RuleSet) -> None:
    assert [rule.id for rule in rules.opened_by("detected", "critical")] == ["R01", "R02"]
    assert [rule.id for rule in rules.opened_by("detected", "major")] == ["R01", "R02"]
    assert [rule.id for rule in rules.opened_by("detected", "serious")] == ["R03"]
    assert [rule.id for rule in rules.opened_by("detected", "general")] == ["R03"]
    assert rules.opened_by("closed", "general") == ()


def test_promptly_opens_no_clock(rules: RuleSet) -> None:
    assert not rules.rule("R04").countable
    assert not rules.rule("R12").countable
    assert rules.rule("S23").deadline.refers_to == ("R02", "R03")


def test_software_only_proposes_accountability(rules: RuleSet) -> None:
    assert [r.level for r in rules.escalation if r.proposal_only] == ["L6", "L7"]
    assert all(rung.needs_approver for rung in rules.escalation if rung.rank >= 3)


def test_every_judged_domain_meets_the_rule_file(rules: RuleSet) -> None:
    for domain in DOMAINS:
        if domain.rule_domain is not None:
            found = rules.domain(domain.rule_domain)
            assert found is not None, domain.id
            assert found.in_monitor_list == domain.watched, domain.id


def test_further_times_of_a_rule_are_kept(rules: RuleSet) -> None:
    extra = rules.rule("R13").extra
    assert {name: str(amount) for name, amount in extra.items()} == {
        "mediation": "P45WD",
        "report_check": "P15WD",
    }


def test_an_unknown_rule_says_which_there_are(rules: RuleSet) -> None:
    with pytest.raises(KeyError, match=r"no rule R99; the rule file has .*R01"):
        rules.rule("R99")


def test_a_changed_number_changes_the_version(tmp_path: Path, rules: RuleSet) -> None:
    path = tmp_path / "jinan.yaml"
    path.write_text(JINAN.read_text("utf-8").replace("deadline: PT48H", "deadline: PT36H"), "utf-8")
    changed = load_rules(path)
    assert changed.rule("R03").amount == 36
    assert changed.version != rules.version
    assert len(rules.version) == 12


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("deadline: PT48H", "deadline: PT48", r"response_rules\.2.*expected hours \(PT5H\)"),
        (
            "deadline: PT48H, clock: calendar_hours",
            "deadline: PT48H, clock: workdays",
            r"response_rules\.2.*clock workdays does not fit",
        ),
        (
            "{id: S02, domain: all",
            "{id: S02, domain: roads",
            r"obligations\.1\.domain = 'roads': no such domain",
        ),
        ("{id: S02,", "{id: S01,", r"obligations: the id S01 stands here twice"),
        ("及时(按 R02/R03)", "及时(按 R02/R77)", r"obligations\.22\.deadline.*no rule R77"),
        ("basis: law, source: 政府信息公开条例第6条", "basis: law", r"response_rules\.3.*needs `source`"),
        ("{level: L0", "{level: L9", r"escalation: the rungs must ascend"),
        ("approver: 系统", "aprover: 系统", r"escalation\.0\.aprover: unknown key; did you mean `approver`"),
        ("basis: notice", "basis: rumour", r"domains\.0\.basis = 'rumour'.*'notice'"),
        ("levels: [major, critical]", "levels: [terrible]", r"response_rules\.0\.levels\.0 = 'terrible'"),
    ],
)
def test_a_wrong_rule_file_says_where_and_what_is_expected(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    problems = _broken(tmp_path, old, new)
    text = "\n".join(problems)
    assert re.search(expected, text), text
    assert all(problem.startswith(f"{tmp_path / 'jinan.yaml'}, line ") for problem in problems), text
