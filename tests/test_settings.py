"""Settings: which value wins, and what a wrong one says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from config.problems import toml_line
from config.reference import DOCS, fill, secrets_env, setting_keys, settings_toml
from config.settings import ConfigError, Settings, load_settings


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine that runs the test."""
    for name in list(os.environ):
        if name.upper().startswith("QUANSHENG_") and "__" in name:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(tmp_path: Path, text: str, dotenv: str = "") -> Path:
    path = tmp_path / "quansheng.toml"
    path.write_text(text, "utf-8")
    if dotenv:
        (tmp_path / ".env").write_text(dotenv, "utf-8")
    return path


def problems(path: Path | None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    return caught.value.problems


def test_without_any_file_every_default_holds(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.city.name == "济南市"
    assert settings.console.port == 8600
    assert settings.config_dir == tmp_path
    assert settings.database_url == f"sqlite:///{tmp_path / 'var' / 'quansheng.db'}"
    assert settings.link_base == "http://127.0.0.1:8600"


def test_file_then_dotenv_then_environment_then_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(
        tmp_path,
        "[console]\nport = 1001\nidle_min = 11\nhost = '::1'\n[crawl]\ndelay_s = 9\n",
        "QUANSHENG_CONSOLE__PORT=1002\nQUANSHENG_CONSOLE__IDLE_MIN=12\n",
    )
    monkeypatch.setenv("QUANSHENG_CONSOLE__PORT", "1003")
    settings = load_settings(path)
    assert settings.console.port == 1003
    assert settings.console.idle_min == 12
    assert settings.console.host == "::1"
    assert settings.crawl.delay_s == 9
    assert load_settings(path, data_dir=Path("elsewhere")).data_path == tmp_path / "elsewhere"


def test_settings_cannot_be_changed_afterwards() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.console.port = 1  # type: ignore[misc]


def test_every_wrong_key_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, '[console]\nport = "x"\nidle_mins = 3\n\n[crawler]\ndelay_s = 1\n')
    assert problems(path) == [
        f"{path}, line 2: console.port = 'x': input should be a valid integer, unable to parse string as an integer",
        f"{path}, line 3: console.idle_mins = 3: unknown key; did you mean `idle_min`?",
        f"{path}, line 5: crawler = {{'delay_s': 1}}: unknown key; did you mean `crawl`?",
    ]


def test_a_wrong_variable_is_named_not_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "", "QUANSHENG_CONSOLE__IDLE_MIN=soon\nQUANSHENG_PORT=1\n")
    monkeypatch.setenv("QUANSHENG_CONSOLE__PORT", "-1")
    told = problems(path)
    assert any(p.startswith("environment, QUANSHENG_CONSOLE__PORT: console.port = '-1'") for p in told)
    assert any(
        p.startswith(f"{tmp_path / '.env'}, QUANSHENG_CONSOLE__IDLE_MIN: console.idle_min = 'soon'")
        for p in told
    )
    assert f"{tmp_path / '.env'}: QUANSHENG_PORT: unknown; expected QUANSHENG_<SECTION>__<KEY>" in told


def test_a_misspelt_section_in_the_environment_is_not_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANSHENG_CONSOL__PORT", "1")
    assert problems(None) == ["environment, QUANSHENG_CONSOL__PORT: unknown key; did you mean `console`?"]


def test_a_list_in_the_environment_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANSHENG_REPORTS__RECIPIENTS", "a@example.invalid")
    assert problems(None) == [
        'environment, QUANSHENG_REPORTS__RECIPIENTS = \'a@example.invalid\': expected a list in JSON: ["a", "b"]'
    ]
    monkeypatch.setenv("QUANSHENG_REPORTS__RECIPIENTS", '["a@example.invalid"]')
    assert load_settings().reports.recipients == ("a@example.invalid",)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"[console\nport = 1\n", "not valid TOML: Expected ']'"),
        (b"[console]\nport = \n", "at line 2, column 8"),
        (b"\xff\xfe", "byte 1 is not UTF-8; save the file as UTF-8"),
    ],
)
def test_a_broken_file_says_where(tmp_path: Path, raw: bytes, expected: str) -> None:
    path = tmp_path / "quansheng.toml"
    path.write_bytes(raw)
    (told,) = problems(path)
    assert told.startswith(str(path))
    assert expected in told


def test_a_named_file_that_is_absent_is_an_error(tmp_path: Path) -> None:
    assert problems(tmp_path / "no.toml") == [
        f"{tmp_path / 'no.toml'}: no such file; `quansheng init {tmp_path}` writes one"
    ]


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    path = write(
        tmp_path, '[slack]\ntoken = 4711\n[mail]\npasswords = "hunter2"\n[slak]\ntoken = "xoxb-0815"\n'
    )
    told = "\n".join(problems(path))
    assert "4711" not in told
    assert "hunter2" not in told
    assert "xoxb" not in told
    assert "xoxb" not in repr(load_settings(write(tmp_path, '[slack]\ntoken = "xoxb-0815"\n')))


def test_the_written_file_is_the_default(tmp_path: Path) -> None:
    """Every line taken out of its comment gives the same settings: no default is written down wrongly."""
    text = settings_toml()
    path = write(tmp_path, text)
    assert load_settings(path).model_dump() == load_settings().model_dump()
    lines = [
        line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in text.splitlines()
    ]
    path.write_text("\n".join(lines), "utf-8")
    assert load_settings(path).model_dump() == load_settings().model_dump()


def test_every_setting_stands_in_the_written_files() -> None:
    text = settings_toml() + secrets_env()
    for key in setting_keys():
        section, _, name = key.rpartition(".")
        assert f"\n#{name} = " in text or f"\n#QUANSHENG_{section.upper()}__{name.upper()}=" in text, key


def test_every_setting_says_what_it_means() -> None:
    for section in Settings.model_fields.values():
        fields = getattr(section.annotation, "model_fields", {"": section})
        assert all(len(info.description or "") > 8 for info in fields.values())


def test_the_documentation_is_made_from_the_settings() -> None:
    text = DOCS.read_text("utf-8")
    assert text == fill(text), "run `python -m config.reference`"
    assert all(f"`{key}`" in text for key in setting_keys())


def test_a_line_is_found_in_plain_sections() -> None:
    text = "a = 1\n[b]\nc = 2\n[b.d]\ne = 3\n"
    assert toml_line(text, ("a",)) == 1
    assert toml_line(text, ("b",)) == 2
    assert toml_line(text, ("b", "c")) == 3
    assert toml_line(text, ("b", "x")) is None


def test_a_list_in_dotenv_is_json_too(tmp_path: Path) -> None:
    path = write(tmp_path, "", "QUANSHENG_REPORTS__RECIPIENTS=a@example.invalid\n")
    (told,) = problems(path)
    assert told.startswith(str(tmp_path / ".env"))
    assert "a list is written as JSON" in told


def test_a_table_by_grade_names_some_and_keeps_the_others(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, "[alerts.progress_min]\nserious = 90\n"))
    assert settings.alerts.progress_min == {"general": 240, "serious": 90, "major": 60, "critical": 30}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[alerts.progress_min]\nhuge = 90\n", "no grade huge"),
        ("[alerts.outer_min]\ncritical = 0\n", "critical: 0 is not between"),
        ("[alerts.joint_repeats]\nmajor = 99\n", "major: 99 is not between 0 and 48"),
    ],
)
def test_a_table_by_grade_with_a_strange_grade_or_number_is_refused(
    tmp_path: Path, text: str, said: str
) -> None:
    assert said in "\n".join(problems(write(tmp_path, text)))
