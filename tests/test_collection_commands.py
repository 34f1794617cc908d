"""`quansheng coverage`, `backfill` and `evidence` as they are typed: what is printed, what is refused, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import cli
from incidents import events, evidence, lifecycle
from incidents.installation import Installation, open_installation
from incidents.judgements import add_post, open_watching
from incidents.posts import NewPost, save_posts
from incidents.states import Detect
from incidents.warc import Exchange, build
from spiders import evidence_job
from tests.fakes.site import Site

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PAPERS = {"legal_basis": "法定职责", "impact_note": "一小时一页", "owner_unit": "测试单位"}
Quansheng = Callable[..., tuple[int, str]]


@pytest.fixture
def quansheng(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Quansheng:
    """Calls the command on an installation of its own."""
    (tmp_path / "quansheng.toml").write_text("")
    monkeypatch.setenv("QUANSHENG_CRAWL__DELAY_S", "0")
    monkeypatch.setenv("QUANSHENG_CRAWL__ALLOW_PRIVATE_HOSTS", '["127.0.0.1"]')
    monkeypatch.setattr(cli, "now", lambda: NOW + timedelta(hours=1))

    def call(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli.app, ["--config", str(tmp_path / "quansheng.toml"), *words])
        said = result.output + (
            str(result.exception) if result.exception and not isinstance(result.exception, SystemExit) else ""
        )
        return result.exit_code, said

    return call


def raised(home: Installation) -> tuple[str, int]:
    """An incident of one post whose original is kept; its number and the post."""
    store = evidence_job.vault(home.bundle, home.keys)
    answer = Exchange("forum", "http://bbs.example/t/1", NOW, 200, "<p>原文</p>".encode())
    name = store.new_name("forum", NOW)
    store.put(name, build(answer))
    with home.db.transaction() as session:
        (post,) = save_posts(
            session,
            [
                NewPost(
                    "forum",
                    "t1",
                    answer.url,
                    "停水",
                    "历下区停水两天了",
                    NOW,
                    False,
                    NOW,
                    "a1",
                    received=f"sha256:{answer.digest}",
                    original=name,
                )
            ],
        ).ids
        made = open_watching(
            session, title="停水", domain="services", district="历下区", first_posted_at=NOW, sketch={}
        )
        add_post(session, made, post, similarity=1, voice=True, published_at=NOW, negative=True, now=NOW)
        number = lifecycle.handle(
            session, made, Detect("manual", {}), actor="lin", channel="cli", now=NOW
        ).number
    return number, post


def test_coverage_prints_tables_and_json(quansheng: Quansheng, tmp_path: Path) -> None:
    home = open_installation(tmp_path / "quansheng.toml")
    number, _ = raised(home)
    home.db.close()
    code, said = quansheng("coverage", "--weeks", "2")
    assert code == 0
    assert "forum" in said
    assert "热榜上没有" in said
    code, said = quansheng("coverage", "--json")
    found = json.loads(said)
    assert [entry["number"] for entry in found["incidents"]] == [number]
    assert found["incidents"][0]["sources"][0]["source_id"] == "forum"
    assert found["hot"]["n"] == 0
    code, said = quansheng("coverage", "--weeks", "0")
    assert (code, "--weeks 0: expected 1 to" in said) == (1, True)


def test_evidence_lists_and_hands_out_with_a_reason(quansheng: Quansheng, tmp_path: Path) -> None:
    home = open_installation(tmp_path / "quansheng.toml")
    number, post = raised(home)
    done = evidence_job.run(home.db, home.bundle, home.keys, NOW)
    assert done is not None
    assert done.kept == 1
    code, said = quansheng("evidence", "list", number)
    assert (code, f"{number}: 1 originals kept, 0 purged, 0 missing" in said) == (0, True)
    listed = json.loads(quansheng("evidence", "list", number, "--json")[1])
    assert [row["post_id"] for row in listed["kept"]] == [post]
    out = tmp_path / "out.warc.gz"
    for words, why in (
        ((number, str(out), "--reason", "x"), "--reason: say why"),
        ((number, str(out), "--reason", "调查需要", "--post", "99"), "no original is kept"),
        (("QS-2026-999999", str(out), "--reason", "调查需要"), "QS-2026-999999"),
        ((number, str(tmp_path / "out.zip"), "--reason", "调查需要"), ".warc.gz"),
    ):
        code, said = quansheng("evidence", "export", *words)
        assert (code, why in said) == (1, True), said
    assert not out.exists()
    with home.db.reading() as session:
        assert not [one for one in events.events_after(session, 0) if one.kind == evidence.READ]
    code, said = quansheng("evidence", "export", number, str(out), "--reason", "调查需要")
    assert (code, "not redacted and not encrypted" in said) == (0, True)
    assert out.stat().st_mode & 0o077 == 0
    with home.db.reading() as session:
        (read,) = [one for one in events.events_after(session, 0) if one.kind == evidence.READ]
        assert read.payload["reason"] == "调查需要"
    home.db.close()


def test_backfill_reads_a_range_shows_it_and_refuses_what_it_cannot_read(
    quansheng: Quansheng, tmp_path: Path
) -> None:
    with Site() as site:
        rows = [{"id": n, "t": f"停水第{n}次", "at": (NOW - timedelta(days=n)).isoformat()} for n in range(9)]
        for page, part in enumerate((rows[:3], rows[3:6], rows[6:], []), 1):
            site.page(f"/api?page={page}", json.dumps({"rows": part}), kind="application/json")
        source = {
            "id": "api",
            "name": "接口",
            "kind": "json",
            "url": f"{site.url}/api?page={{page}}",
            "enabled": True,
            "items": "rows",
            "fields": {"id": "id", "title": "t", "text": "t", "published_at": "at"},
            "pagination": {"kind": "page", "size": 3, "max_pages": 1},
            **PAPERS,
        }
        feed = {
            **PAPERS,
            "id": "feed",
            "name": "订阅",
            "kind": "rss",
            "url": f"{site.url}/f",
            "enabled": True,
        }
        (tmp_path / "sources.yaml").write_text(
            yaml.safe_dump({"sources": [source, feed]}, allow_unicode=True)
        )
        assert quansheng("backfill", "--json")[1].strip() == "[]"
        for words, why in (
            (("api",), "--from"),
            (("api", "--from", "gestern"), "is no date"),
            (("nobody", "--from", "2026-02-01"), "nobody"),
            (("feed", "--from", "2026-02-01"), "newest entries only"),
        ):
            code, said = quansheng("backfill", *words)
            assert (code, why in said) == (1, True), said
        code, said = quansheng("backfill", "api", "--from", "2026-02-24", "--to", "2026-02-26")
        assert (code, "done:" in said) == (0, True), said
        code, said = quansheng("backfill", "--json")
        (done,) = json.loads(said)
        assert (done["source_id"], done["state"], done["saved"]) == ("api", "done", 3)
        code, said = quansheng("backfill")
        assert (code, "2026-02-24" in said, "2026-02-26" in said) == (0, True, True)


def test_a_crawl_by_itself_loads_no_models_and_no_console(quansheng: Quansheng, tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text("sources: []\n")
    words = ["--config", str(tmp_path / "quansheng.toml"), "crawl"]
    code = (
        "import sys, cli\n"
        f"cli.app({words!r}, standalone_mode=False)\n"
        "print('loaded', sorted({name.split('.')[0] for name in sys.modules}"
        " & {'numpy', 'numba', 'sklearn', 'fastapi', 'analysis', 'console', 'spiders'}))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(cli.__file__).parent,
    )
    assert ran.stdout.splitlines()[-1] == "loaded ['spiders']"
