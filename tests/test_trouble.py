"""A database or a folder that cannot be used is told in one sentence: what, where, what to do; never a traceback."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from config.bundle import load_bundle
from config.files import DEFAULTS
from config.keys import load_keys
from config.roster import load_roster
from config.settings import ConfigError, load_settings
from incidents.installation import open_installation
from incidents.session import Database
from incidents.store import open_database
from incidents.trouble import DatabaseTrouble, Problem

KEY = b"k" * 32


def opened(path: Path, wait_s: float = 0.05) -> Database:
    return open_database(f"sqlite:///{path}", audit_key=KEY, busy_timeout_s=wait_s)


def test_a_file_that_is_no_database_is_named_with_its_cure(tmp_path: Path) -> None:
    file = tmp_path / "quansheng.db"
    file.write_bytes(b"\x07no database at all" * 500)
    with pytest.raises(DatabaseTrouble) as caught:
        opened(file)
    assert str(caught.value).startswith(str(file))
    assert "restore the last good backup" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_the_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "quansheng.db").mkdir()
    with pytest.raises(DatabaseTrouble, match="cannot be opened"):
        opened(tmp_path / "quansheng.db")


def test_a_locked_database_is_told_and_works_again_afterwards(tmp_path: Path) -> None:
    file = tmp_path / "quansheng.db"
    db = opened(file)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseTrouble, match="another process"), db.transaction():
        pass
    opened(file).close()  # which needs no lock while there is nothing to upgrade
    other.execute("ROLLBACK")
    other.close()
    with db.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM post")).scalar() == 0
    db.close()


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    db = opened(tmp_path / "quansheng.db")
    big = "CREATE TABLE big AS SELECT zeroblob(9000000) AS b"
    with db.reading() as session:
        session.connection().exec_driver_sql("PRAGMA max_page_count = 1")
    with pytest.raises(DatabaseTrouble, match="make room"), db.transaction() as session:
        session.execute(text(big))
    db.close()


def test_a_mistake_of_ours_stays_an_error_of_ours(db: Database) -> None:
    with pytest.raises(OperationalError), db.reading() as session:
        session.execute(text("SELECT * FROM no_such_table"))


@pytest.mark.parametrize(
    "url", ["garbage", "", "mysql://root:pw12345@h/d", "nosuch://x", "oracle://u:pw12345@h/d"]
)
def test_an_address_of_no_known_database_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(Problem, match="expected sqlite") as caught:
        open_database(url, audit_key=KEY)
    assert "pw12345" not in str(caught.value)


def test_an_unreachable_server_is_told_without_its_password() -> None:
    with pytest.raises(DatabaseTrouble, match="start the database server") as caught:
        open_database("postgresql+psycopg://u:pw12345@127.0.0.1:1/d", audit_key=KEY)
    assert "pw12345" not in str(caught.value)


def test_a_folder_in_place_of_the_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "secret.key").mkdir()
    with pytest.raises(ConfigError, match=r"secret\.key: cannot be read or made"):
        load_keys(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"secret\.key: cannot be read or made"):
        load_keys(tmp_path / "file")


def test_a_key_of_other_letters_is_told(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_bytes("钥匙".encode())
    with pytest.raises(ConfigError, match="not a key"):
        load_keys(tmp_path)


@pytest.mark.parametrize("name", ["sources.yaml", "roster.yaml", "rules/jinan.yaml"])
def test_a_folder_or_dead_link_in_place_of_a_file_is_not_replaced_in_silence(
    tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    file.mkdir(parents=True)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_bundle(None, config_dir=tmp_path)
    file.rmdir()
    file.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no such file"):
        load_bundle(None, config_dir=tmp_path)


def test_rules_of_another_city_are_looked_for_in_its_own_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_bundle(None, config_dir=tmp_path, city={"id": "foo"})
    assert all(problem.startswith(str(tmp_path)) for problem in caught.value.problems), caught.value.problems


def test_a_data_folder_that_would_move_the_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="question mark"):
        load_bundle(None, config_dir=tmp_path, data_dir=Path("a?b"))


def test_values_that_would_stop_a_running_program_are_refused_at_its_start(tmp_path: Path) -> None:
    file = tmp_path / "quansheng.toml"
    file.write_text(
        '[alerts]\nheartbeat_at = "24:00"\n[reports]\nweekly_at = "mon 77:00"\n[privacy]\npost_days = 99999999999\n'
        "[crawl]\nblock_pause_h = inf\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_settings(file)
    told = "\n".join(caught.value.problems)
    for key in ("heartbeat_at", "weekly_at", "post_days", "block_pause_h"):
        assert key in told
    with pytest.raises(ConfigError, match="recipients = 'nobody'"):
        load_bundle(None, config_dir=tmp_path, reports={"recipients": ["nobody"]})


def test_a_wrong_form_is_told_in_words_and_its_consequences_are_not_told(tmp_path: Path) -> None:
    file = tmp_path / "roster.yaml"
    text_ = (DEFAULTS / "roster.yaml").read_text("utf-8").replace("@", "(at)").replace("08:00", "25:00")
    file.write_text(text_, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_roster(file)
    told = "\n".join(caught.value.problems)
    assert "expected a mail address" in told
    assert "expected a time of day" in told
    assert "pattern" not in told
    assert "at least 1 item" not in told


def test_a_lost_key_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "quansheng.toml").write_text("")
    open_installation(tmp_path / "quansheng.toml").db.close()
    key = tmp_path / "var" / "secret.key"
    kept = key.read_bytes()
    key.unlink()
    with pytest.raises(Problem, match="restore it from your backup"):
        open_installation(tmp_path / "quansheng.toml")
    assert not key.exists()
    key.write_bytes(kept)
    open_installation(tmp_path / "quansheng.toml").db.close()
