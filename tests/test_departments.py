"""Who handles an incident, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.departments import Departments, load_departments
from config.domains import DOMAINS
from config.files import DEFAULTS
from config.places import load_places
from config.settings import ConfigError

JINAN = DEFAULTS / "departments.yaml"


@pytest.fixture(scope="module")
def departments() -> Departments:
    return load_departments(JINAN)


def test_the_lead_is_named_as_today_and_the_clause_as_it_was(departments: Departments) -> None:
    found = departments.suggest("food_safety", "历下区")
    assert found.department.id == "market-regulation"
    assert found.department.name == "市市场监督管理局"
    assert "“(各县区政府和市食品药品监管局负责落实)”" in found.reason
    assert "济政办发〔2018〕25号 三(七)" in found.reason
    assert "2018年通知中称 市食品药品监管局" in found.reason
    assert found.basis == "notice"
    assert not found.conflict


def test_the_districts_government_stands_beside_the_lead(departments: Departments) -> None:
    found = departments.suggest("housing", "历城区")
    assert found.district_government is not None
    assert found.district_government.name == "历城区政府"
    assert [d.id for d in found.co] == ["housing-fund", "licheng"]
    assert "属地: 历城区政府" in found.reason


def test_a_functional_area_has_its_own_office(departments: Departments) -> None:
    for place, unit in (
        ("济南高新区", "gaoxin"),
        ("济南南部山区", "nanshan"),
        ("济南新旧动能转换起步区", "qibu"),
    ):
        found = departments.suggest("housing", place)
        assert [d.id for d in found.co] == ["housing-fund", unit]
    assert departments.government_of("历下区") is departments.get("lixia")
    assert departments.reader.complaints("", "投诉区教育局", district="济南高新区")[0].unit == "gaoxin"


def test_without_a_district_no_government_is_named(departments: Departments) -> None:
    found = departments.suggest("housing", "")
    assert found.district_government is None
    assert "属地" not in found.reason


def test_what_the_notice_does_not_assign_is_marked_as_a_proposal(departments: Departments) -> None:
    assert departments.suggest("elderly", "").basis == "proposed"
    assert "建议, 非法定" in departments.suggest("elderly", "").reason
    assert departments.suggest("transport", "").basis == "proposed"


@pytest.mark.parametrize("domain", [d.id for d in DOMAINS])
def test_every_domain_in_every_district_has_somebody(departments: Departments, domain: str) -> None:
    places = load_places(DEFAULTS / "places" / "jinan.yaml")
    for district in ("", *places.names):
        found = departments.suggest(domain, district)
        assert found.department.name
        assert found.reason
        assert (found.district_government is not None) == bool(district)


def test_nobody_handles_a_complaint_about_himself(departments: Departments) -> None:
    found = departments.suggest("food_safety", "历下区", complained_about={"market-regulation"})
    assert found.department.id == "health-commission"
    assert "market-regulation" not in {d.id for d in found.co}
    assert found.conflict
    assert "回避: 诉求涉及市市场监督管理局" in found.reason
    assert "济南市12345市民服务热线条例第32条" in found.reason


def test_when_the_whole_line_is_complained_of_the_supervisor_takes_it(departments: Departments) -> None:
    found = departments.suggest("health", "", complained_about={"health-commission"})
    assert found.department.id == "city-office"
    assert found.co == ()


def test_a_district_that_is_complained_of_does_not_help(departments: Departments) -> None:
    found = departments.suggest("housing", "历城区", complained_about={"licheng"})
    assert found.department.id == "housing-construction"
    assert found.district_government is None
    assert "licheng" not in {d.id for d in found.co}
    assert "诉求涉及历城区政府" in found.reason


def test_a_part_of_the_complained_unit_is_passed_over_too() -> None:
    departments = Departments.model_validate(
        {
            "supervision": "office",
            "departments": [
                {"id": "office", "name": "办公厅", "kind": "supervision"},
                {"id": "bureau", "name": "某局"},
                {"id": "branch", "name": "某局分局", "superior": "bureau"},
            ],
            "duties": [{"domain": "market", "lead": "branch"}],
        }
    )
    assert departments.suggest("market", complained_about={"bureau"}).department.id == "office"
    # A complaint about the branch goes to the bureau above it.
    assert departments.suggest("market", complained_about={"branch"}).department.id == "bureau"


def test_if_everybody_is_complained_of_a_superior_body_has_to_decide(departments: Departments) -> None:
    found = departments.suggest("other", "", complained_about={"city-office"})
    assert found.unresolved
    assert "请上级机关指定" in found.reason
    assert not departments.suggest("health", "", complained_about={"health-commission"}).unresolved


def test_the_reason_is_told_in_english_with_the_clause_as_it_stands(departments: Departments) -> None:
    found = departments.suggest("food_safety", "历下区")
    assert found.why("zh_CN") == found.reason
    assert found.why("en").startswith(
        "Food safety: 市市场监督管理局 leads; under 济政办发〔2018〕25号 三(七) “(各县区政府"
    )
    assert found.why("en").endswith("local government: 历下区政府")


def test_old_and_new_names_lead_to_one_department(departments: Departments) -> None:
    for name in ("市食品药品监管局", "市工商局", "市市场监督管理局"):
        found = departments.named(name)
        assert found is not None
        assert found.id == "market-regulation"
    assert departments.named("市没有这个局") is None


def test_an_id_that_left_the_file_is_shown_as_it_is(departments: Departments) -> None:
    assert departments.zh("education") == "市教育局"
    assert departments.zh("abolished-office") == "abolished-office"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("lead: education", "lead: educaton", "duties.0.lead = 'educaton': no such department in this file"),
        ("co: [human-resources]", "co: [nobody]", "duties.0.co = 'nobody': no such department"),
        ("{id: human-resources,", "{id: education,", "departments: the id education stands here twice"),
        ("domain: schooling", "domain: scholing", "duties.0.domain = 'scholing': expected one of schooling"),
        (
            "name: 市教育局,",
            "name: 市教育局, superior: nobody,",
            "departments.1.superior = 'nobody': no such department",
        ),
        ("{domain: labour,", "{domain: transport,", "duties: the domain transport stands here twice"),
        ("supervision: city-office", "supervision: nobody", "supervision = 'nobody': no such department"),
        ("kind: district, districts: [历下区]", "kind: district", "a district government needs `districts`"),
        ("name: 市教育局", "nmae: 市教育局", "departments.1.nmae: unknown key; did you mean `name`?"),
    ],
)
def test_a_wrong_departments_file_says_where(tmp_path: Path, old: str, new: str, expected: str) -> None:
    text = JINAN.read_text("utf-8")
    assert old in text
    path = tmp_path / "departments.yaml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_departments(path)
    assert expected in "\n".join(caught.value.problems)
