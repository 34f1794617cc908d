"""Every configuration file: the defaults are right, and each wrong one gives its sentence."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from config.bundle import Bundle, load_bundle
from config.domains import DOMAINS, domain_label, rule_domain
from config.files import DEFAULTS, read_yaml
from config.places import load_places
from config.routes import load_routes
from config.settings import ConfigError
from config.sources import JsonSource, load_sources
from config.writer import default_files, write_defaults


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("QUANSHENG_") and "__" in name:
            monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A freshly written configuration."""
    write_defaults(tmp_path)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def problems(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_bundle(folder / "quansheng.toml")
    return caught.value.problems


# --- defaults and init


def test_what_init_writes_loads_without_a_problem(folder: Path) -> None:
    bundle = load_bundle(folder / "quansheng.toml")
    assert len(bundle.places.districts) == 12
    assert bundle.settings.config_dir == folder


def test_without_files_the_packaged_defaults_hold(tmp_path: Path) -> None:
    (tmp_path / "quansheng.toml").touch()
    bundle = load_bundle(tmp_path / "quansheng.toml")
    assert bundle.rules.rule("R03").amount == 48
    assert not any(source.enabled for source in bundle.sources), "nothing is read before somebody decided so"


def test_one_own_file_beside_defaults_is_enough(tmp_path: Path) -> None:
    (tmp_path / "quansheng.toml").touch()
    (tmp_path / "sources.yaml").write_text("sources: []\n", "utf-8")
    bundle = load_bundle(tmp_path / "quansheng.toml")
    assert bundle.sources == ()
    assert bundle.source("city-board-feed") is None
    assert len(bundle.roster.people) == 4


def test_init_keeps_what_is_there_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "roster.yaml").write_text("mine\n", "utf-8")
    written = write_defaults(tmp_path)
    assert tmp_path / "roster.yaml" not in written
    assert len(written) == len(default_files()) - 1
    assert (tmp_path / "roster.yaml").read_text("utf-8") == "mine\n"
    assert write_defaults(tmp_path) == []
    assert len(write_defaults(tmp_path, force=True)) == len(default_files())
    assert (tmp_path / "roster.yaml").read_text("utf-8") != "mine\n"


def test_init_into_a_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(ConfigError, match=r"cannot be written: .*; choose a folder"):
        write_defaults(tmp_path / "taken")


@pytest.mark.parametrize("name", [name for name in default_files() if name.endswith(".yaml")])
def test_every_default_file_is_commented(name: str) -> None:
    text = default_files()[name]
    assert text.startswith("# ")
    assert sum(line.lstrip().startswith("#") for line in text.splitlines()) >= 3


def test_no_default_names_a_real_person_or_site() -> None:
    for name, text in default_files().items():
        for host in re.findall(r"https?://([^/\s\"]+)", text):
            services = ("slack.com", "qyapi.weixin.qq.com", "oapi.dingtalk.com", "open.feishu.cn")
            assert host.endswith(("example.invalid", *services, "<console.port>.")) or host.startswith(
                "127."
            ), f"{name}: {host}"
        for mail in re.findall(r"[\w.]+@([\w.]+)", text):
            assert mail in ("example.invalid", "localhost", "host"), f"{name}: {mail}"
        assert not re.search(r"1[3-9]\d{9}", text), f"{name}: a telephone number"


# --- all problems at once


def test_every_file_is_checked_even_if_another_is_broken(folder: Path) -> None:
    change(folder / "quansheng.toml", "#port = 8600", 'port = "x"')
    change(folder / "sources.yaml", "every_min: 30", "every_min: 0")
    change(folder / "departments.yaml", "lead: education", "lead: nobody")
    change(folder / "rules/jinan.yaml", "deadline: PT48H", "deadline: PT48")
    change(folder / "roster.yaml", "fallback: zhou-bei", "fallback: nobody")
    change(folder / "routes.yaml", "levels: [major, critical]", "levels: [terrible]")
    change(folder / "places/jinan.yaml", 'code: "370102"', 'code: "3701"')
    told = problems(folder)
    for name in (
        "quansheng.toml",
        "sources.yaml",
        "departments.yaml",
        "jinan.yaml",
        "roster.yaml",
        "routes.yaml",
    ):
        assert any(name in problem for problem in told), name
    assert len(told) == 7
    for problem in told:
        assert re.match(rf"{re.escape(str(folder))}/[\w./]+, line \d+: [\w.]+( = .+)?: .+", problem), problem


def test_broken_yaml_names_line_and_column_and_the_rest_is_still_checked(folder: Path) -> None:
    (folder / "sources.yaml").write_text("sources:\n  - id: a\n    name: b: c\n", "utf-8")
    change(folder / "roster.yaml", "fallback: zhou-bei", "fallback: nobody")
    told = problems(folder)
    assert (
        told[0]
        == f"{folder / 'sources.yaml'}, line 3, column 12: not valid YAML: mapping values are not allowed here"
    )
    assert len(told) == 2


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("sources.yaml", "district_hint: 历城区", "district_hint: 历程区", "sources.2.district_hint = '历程区': no such district; expected one of 历下区"),
        ("sources.yaml", "enabled: false", "enabled: true", "sources.0.url = 'https://board.example.invalid/feed/': an example's address"),
        ("sources.yaml", "url: https://board.example.invalid/feed/\n    enabled: false", "url: http://127.0.0.1/feed\n    enabled: true", "add '127.0.0.1' to crawl.allow_private_hosts"),
        ("sources.yaml", "url: https://board.example.invalid/feed/\n    enabled: false", "url: http://[fd00::1]/feed\n    enabled: true", "add 'fd00::1' to crawl.allow_private_hosts"),
        ("departments.yaml", "districts: [历下区]", "districts: [历下]", "districts = '历下': no such district"),
        ("departments.yaml", "domain: schooling, lead: education", "domain: schooling, lead: transport", "duties.0.lead = 'transport': the rule file's domain schooling is led by 市教育局"),
        ("departments.yaml", "市人力资源社会保障局分别负责落实)", "市人社局分别负责落实)", "duties.0.quote"),
        ("routes.yaml", "ladder: [primary, leader, secondary]", "ladder: [primary, wang-wu]", "routes.0.ladder = 'wang-wu': expected a role (primary, secondary, leader) or a person id"),
        ("routes.yaml", "channels: [slack, email]", "channels: [slack, fax]", "routes.0.channels.1 = 'fax'"),
        ("routes.yaml", "match: {levels: [major, critical]}", "match: {levels: [major], districts: [历程区]}", "routes.0.match.districts = '历程区'"),
        ("routes.yaml", "match: {levels: [major, critical]}", "match: {levels: [major], domains: [school]}", "no such domain: school"),
        ("routes.yaml", "match: {levels: [major, critical]}", "copy_to: [x]", "route 重大以上 matches everything"),
        ("roster.yaml", ", email: lin.dong@example.invalid", "", "people.0 = 'lin-dong': needs `email` or `slack_user`"),
        ("quansheng.toml", '#watched_domains = ["schooling"', 'watched_domains = ["school"', "analysis.watched_domains = 'school': no such domain"),
        ("quansheng.toml", '#timezone = "Asia/Shanghai"', 'timezone = "Asia/Jinan"', "city.timezone = 'Asia/Jinan': no such zone"),
        ("quansheng.toml", '#id = "jinan"', 'id = "qingdao"', "rules/qingdao.yaml: no such file"),
    ],
)  # fmt: skip
def test_files_are_checked_against_each_other(
    folder: Path, name: str, old: str, new: str, expected: str
) -> None:
    change(folder / name, old, new)
    told = problems(folder)
    assert any(expected in problem for problem in told), told


def test_a_private_address_that_is_allowed_is_no_problem(folder: Path) -> None:
    change(
        folder / "sources.yaml",
        "url: https://board.example.invalid/feed/\n    enabled: false",
        "url: http://127.0.0.1:8081/feed\n    enabled: true",
    )
    change(folder / "quansheng.toml", "#allow_private_hosts = []", 'allow_private_hosts = ["127.0.0.1"]')
    source = load_bundle(folder / "quansheng.toml").source("city-board-feed")
    assert source is not None
    assert source.enabled


# --- reading YAML


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a: [1, 2\nb: 3\n", ", line 2, column 2: not valid YAML"),
        (b"a: 1\nb: 2\na: 3\n", ", line 3, column 1: not valid YAML: the key 'a' stands here twice"),
        (b"a: \xff\n", ": byte 4 is not UTF-8; save the file as UTF-8"),
        (b"? [a]\n: 1\n", "a key must be plain text"),
        (b"a: !!python/object:os.system x\n", "not valid YAML"),
        (b"a: *nothing\n", "undefined alias"),
        (b"a: \x07\n", "not valid YAML"),
    ],
)
def test_broken_files_say_where(tmp_path: Path, raw: bytes, expected: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    (told,) = caught.value.problems
    assert told.startswith(str(path))
    assert expected in told


def test_a_folder_or_an_absent_file_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; `quansheng init"):
        read_yaml(tmp_path / "x.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)


def test_scalars_are_what_they_look_like(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "t: 20:00\nd: 2026-10-01\nn: no\non: on\nz: 0531\ni: 12\nf: 1.5\nb: true\ne: ~\nv:\n", "utf-8-sig"
    )
    assert read_yaml(path).data == {
        "t": "20:00", "d": "2026-10-01", "n": "no", "on": "on", "z": "0531",
        "i": 12, "f": 1.5, "b": True, "e": None, "v": None,
    }  # fmt: skip


def test_an_empty_file_misses_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "roster.yaml"
    path.write_text("# nothing yet\n", "utf-8")
    with pytest.raises(ConfigError, match=r"routes: this key is missing"):
        load_routes(path)
    path.write_text("- a\n", "utf-8")
    with pytest.raises(ConfigError, match=r"expected `key: value` lines"):
        load_routes(path)


# --- sources

SOURCE = """
sources:
  - id: s
    name: 某网
    kind: json
    url: https://a.example.invalid/posts?page={page}
    legal_basis: 已公开信息
    impact_note: 每小时1次
    owner_unit: 办公厅
    items: data.list
    fields: {id: id, text: body, published_at: time}
    pagination: {kind: page}
"""


def test_a_json_source_is_read_in_full(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(SOURCE, "utf-8")
    (source,) = load_sources(path)
    assert isinstance(source, JsonSource)
    assert source.host == "a.example.invalid"
    assert source.pagination.kind == "page"
    assert not source.enabled
    assert source.timezone == "+08:00"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("kind: json", "kind: jsn", "sources.0 = "),
        ("url: https://a.", "url: ftp://a.", "sources.0.url = 'ftp://a.example.invalid/posts?page={page}': expected an address"),
        ("url: https://a.", "url: https://me:pw@a.", "must not hold a login"),
        ("page={page}", "page=1", "pagination by page needs {page} in url or body"),
        ("items: data.list", "items: data[", "sources.0.items = 'data[': expected a JMESPath"),
        ("text: body", "txt: body", "unknown field 'txt'; expected id, url"),
        ("text: body, ", "", "sources.0.fields"),
        ("    legal_basis: 已公开信息\n", "", "sources.0.legal_basis: this key is missing"),
        ("    impact_note: 每小时1次\n", "", "sources.0.impact_note: this key is missing"),
        ("    owner_unit: 办公厅\n", "", "sources.0.owner_unit: this key is missing"),
        ("{kind: page}", "{kind: cursor}", "pagination by cursor needs `cursor`"),
        ("name: 某网", "name: 某网\n    tier: B", "a tier B source needs `reason`"),
        ("name: 某网", "name: 某网\n    charset: gbx", "expected an encoding such as utf-8 or gb18030"),
        ("name: 某网", "name: 某网\n    timezone: 8:00", "expected an offset such as +08:00"),
        ("name: 某网", "name: 2024", "sources.0.name = 2024: expected text; write it in quotes"),
        ("name: 某网", "name: 某网\n    every_mins: 5", "sources.0.every_mins: unknown key; did you mean `every_min`?"),
        ("name: 某网", "name: 某网\n    domain_hint: schools", "sources.0.domain_hint = 'schools': expected one of schooling"),
        ("name: 某网", "name: 某网\n    max_rate: 100", "sources.0.max_rate = 100"),
        ("id: s\n", "id: S 1\n", "sources.0.id = 'S 1'"),
        ("items: data.list", "time_format: epoch", "sources.0.time_format = 'epoch': expected iso, epoch_s"),
        ("kind: json", "kind: column\n    link_pattern: '(['", "sources.0.link_pattern = '([': expected a regular expression"),
        ("name: 某网", "name: 某网\n    headers: {Cookie: a=b}", "no log-in walls are passed"),
        ("name: 某网", "name: 某网\n    headers: {User-Agent: Mozilla}", "the robot's own name is sent"),
        ("name: 某网", "name: 某网\n    headers: {X-Api-Key: abc}", "the header X-Api-Key holds a secret: write ${NAME}"),
    ],
)  # fmt: skip
def test_a_wrong_source_says_where(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in SOURCE
    path = tmp_path / "sources.yaml"
    path.write_text(SOURCE.replace(old, new, 1), "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_sources(path)
    told = "\n".join(caught.value.problems)
    assert expected in told, told
    assert all(re.match(rf"{re.escape(str(path))}, line \d+: ", problem) for problem in caught.value.problems)


def test_two_sources_of_one_id_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    entry = SOURCE.split("sources:\n")[1]
    path.write_text("sources:\n" + entry + entry, "utf-8")
    with pytest.raises(ConfigError, match="the id stands here twice: s"):
        load_sources(path)


def test_the_examples_show_every_kind() -> None:
    kinds = {source.kind for source in load_sources(DEFAULTS / "sources.yaml")}
    assert kinds == {"rss", "sitemap", "column", "json", "folder", "push", "sql"}


# --- places, routes, domains


def test_places_hold_twelve_districts_and_their_streets() -> None:
    places = load_places(DEFAULTS / "places/jinan.yaml")
    assert len(places.districts) == 12
    assert len(places.streets()) == 163
    assert places.district("历下") == places.district("历下区") == places.districts[0]
    assert places.district("青岛") is None
    assert all(street.code.startswith(district.code) for district, street in places.streets())
    assert places.districts[0].streets[0].short == "解放路"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: 市中区", "name: 历下区", "name stands here twice: 历下区"),
        ('code: "370102002"', 'code: "370102001"', "code stands here twice: 370102001"),
        ('code: "370102002"', "code: 370102002", "expected text; write it in quotes"),
        ("within: [历城区]", "within: [历程区]", "area 济南南部山区 lies in unknown districts: 历程区"),
        ("name: 市中区", "name: 市中", "districts.1.name = '市中'"),
    ],
)
def test_a_wrong_places_file_says_where(tmp_path: Path, old: str, new: str, expected: str) -> None:
    shutil.copy(DEFAULTS / "places/jinan.yaml", tmp_path / "places.yaml")
    change(tmp_path / "places.yaml", old, new)
    with pytest.raises(ConfigError) as caught:
        load_places(tmp_path / "places.yaml")
    assert expected in "\n".join(caught.value.problems)


def test_places_hold_no_residential_community() -> None:
    data = yaml.safe_load((DEFAULTS / "places/jinan.yaml").read_text("utf-8"))
    names = [street["name"] for district in data["districts"] for street in district["streets"]]
    assert all(name.endswith(("街道", "镇")) for name in names)


def test_the_first_route_that_matches_wins(bundle: Bundle) -> None:
    assert bundle.routes.find("housing", "历下区", "critical").name == "重大以上"
    assert bundle.routes.find("housing", "历下区", "general").name == "其他"
    assert bundle.routes.find("none", "", "general").ladder == ("primary", "secondary", "leader")


def test_routes_without_a_last_one_for_all_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("routes:\n  - {name: a, match: {levels: [major]}}\n", "utf-8")
    with pytest.raises(ConfigError, match="the last route must match everything"):
        load_routes(path)


def test_every_domain_has_a_name_in_both_languages() -> None:
    assert len(DOMAINS) == 15
    for domain in DOMAINS:
        assert domain_label(domain.id) == domain.zh
        assert domain_label(domain.id, "en") == domain.en
    assert domain_label("unheard-of") == "unheard-of"
    assert rule_domain("food_safety") == "food_drug"
    assert rule_domain("transport") is None


@pytest.fixture
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder / "quansheng.toml")


def test_a_configuration_can_be_moved(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("moved") / "city"
    shutil.copytree(folder, other)
    assert load_bundle(other / "quansheng.toml").settings.data_path == other / "var"


def test_a_secret_written_into_a_header_is_not_repeated_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(
        SOURCE.replace("name: 某网", "name: 某网\n    headers: {Authorization: Bearer hunter2}"), "utf-8"
    )
    with pytest.raises(ConfigError, match="set NAME in the environment") as caught:
        load_sources(path)
    assert "hunter2" not in str(caught.value)
