"""The invented day: a believable city, and the product finds what happens in it."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from demo import city, officer, run
from demo.city import CHANNELS, CityPost, load_day
from demo.fake_slack import TOKEN
from demo.site import CitySite
from incidents import queries
from incidents.installation import Problem, open_bundle
from incidents.posts import count_unjudged
from incidents.states import State
from incidents.totals import totals
from spiders.redact import find_personal
from tests.test_redaction_set import texts_of

DAY = date(2026, 3, 3)
RAISED = [str(state) for state in State if state != State.WATCHING]


@pytest.fixture
def site() -> Iterator[CitySite]:
    """The city at noon, before anything has happened at the school."""
    posts = load_day(DAY)
    with CitySite(posts, datetime(2026, 3, 3, 12, 0, tzinfo=city.ZONE)) as running:
        yield running


def test_the_day_has_a_city_s_worth_of_posts_in_every_channel() -> None:
    posts = load_day(DAY)
    assert len(posts) >= 150
    assert {post.channel for post in posts} == set(CHANNELS)
    assert all(count >= 10 for count in Counter(post.channel for post in posts).values())
    assert [post.number for post in posts] == list(range(1, len(posts) + 1))
    assert all(early.at <= late.at for early, late in pairwise(posts))
    background = [post for post in posts if not post.matter]
    assert len(background) > len(posts) // 3, "most of a day is not an incident"


def test_nobody_reads_a_post_before_it_was_written(site: CitySite) -> None:
    later = [post for post in site.posts if post.at > site.now]
    pages = [
        httpx.get(f"{site.base}{path}").text
        for path in ("/forum/feed.xml", "/board/posts.json?page=1", "/news/", "/sitemap.xml")
    ]
    for post in later:
        assert httpx.get(f"{site.base}{post.path}").status_code == 404
        assert not any(f"{post.path}" in page for page in pages)
    site.clock(later[-1].at)
    assert httpx.get(f"{site.base}{later[-1].path}").status_code == 200


def test_a_feed_that_has_not_changed_is_answered_304(site: CitySite) -> None:
    first = httpx.get(f"{site.base}/forum/feed.xml")
    tag = {"If-None-Match": first.headers["etag"]}
    assert httpx.get(f"{site.base}/forum/feed.xml", headers=tag).status_code == 304
    site.clock(site.now + timedelta(hours=2))
    assert httpx.get(f"{site.base}/forum/feed.xml", headers=tag).status_code == 200


def test_the_city_s_clock_can_be_set_over_http(site: CitySite) -> None:
    then = site.now + timedelta(hours=5)
    run.RemoteCity(site.base).clock(then)
    assert site.now == then
    assert httpx.post(f"{site.base}/clock", content="tea time").status_code == 400
    assert site.now == then


def plan(folder: Path, **changed: object) -> run.Plan:
    values = {"folder": folder, "once": True, "serve": False, "day": DAY, "step": timedelta(minutes=15)}
    return run.Plan(**(values | changed))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, run.Summary, list[str]]:
    """The whole day, walked through once for the tests below."""
    folder = tmp_path_factory.mktemp("demo") / "day"
    told: list[str] = []
    return folder, run.main(plan(folder), told.append), told


def raised(folder: Path) -> dict[str, tuple[queries.IncidentView, list[queries.PostView]]]:
    """Every raised incident by number, with its posts."""
    home = open_bundle(run.bundle_of(plan(folder), folder, "http://127.0.0.1:1", "http://127.0.0.1:1/api/"))
    try:
        with home.db.reading() as session:
            return {
                item.number or "": (item, queries.posts_of(session, item.id, limit=1000, fold_copies=False))
                for item in queries.list_incidents(session, states=RAISED, limit=1000)
            }
    finally:
        home.db.close()


def matter_of(posts: list[queries.PostView], by_title: dict[str, CityPost]) -> Counter[str]:
    return Counter(by_title[post.title].matter for post in posts if post.title in by_title)


@pytest.mark.slow
def test_the_day_ends_with_every_post_stored_once_and_a_whole_record(
    finished: tuple[Path, run.Summary, list[str]],
) -> None:
    folder, summary, _ = finished
    assert summary.posts == len(load_day(DAY))
    assert summary.chain_ok
    assert summary.alerts > 0
    assert summary.report is not None
    assert (summary.report / "weekly.html").is_file()
    assert list((folder / "outbox").glob("*.eml")), "without a mail server mails lie in the folder"


@pytest.mark.slow
def test_the_day_s_database_holds_nothing_that_redaction_would_remove(
    finished: tuple[Path, run.Summary, list[str]],
) -> None:
    folder, _, _ = finished
    database = sqlite3.connect(f"file:{folder / 'quansheng.db'}?mode=ro", uri=True)
    try:
        texts = list(texts_of(database))
    finally:
        database.close()
    # what the city's people typed went in with a telephone and a class, and came out without them
    typed = "".join(f"{post.title}{post.text}" for post in load_day(DAY))
    assert {"mobile", "class"} <= {kind for _, _, kind in find_personal(typed)}
    assert any("[手机号]" in text for text in texts)
    left = {text[start:end] for text in texts for start, end, _ in find_personal(text)}
    # the officers of the example office and the report's reader, to whom messages are addressed
    assert {piece for piece in left if not piece.endswith(("@example.invalid", "@demo.invalid"))} == set()


@pytest.mark.slow
def test_the_canteen_is_told_within_half_an_hour_and_housing_is_told_on_the_day(
    finished: tuple[Path, run.Summary, list[str]],
) -> None:
    folder, _, _ = finished
    posts = load_day(DAY)
    by_title = {post.title: post for post in posts}
    found: dict[str, list[tuple[queries.IncidentView, int]]] = {}
    for incident, members in raised(folder).values():
        matter, count = matter_of(members, by_title).most_common(1)[0]
        found.setdefault(matter, []).append((incident, count))
    for matter in ("canteen", "housing"):
        assert matter in found, f"{matter} was not noticed"
    canteen = min((item for item, _ in found["canteen"]), key=lambda item: item.id)
    assert canteen.track == "fast"
    first = min(post.at for post in posts if post.matter == "canteen" and "上吐下泻" in post.text)
    assert canteen.alerted_at is not None
    assert canteen.alerted_at - first <= timedelta(minutes=30), "two steps of this walk"
    biggest = max(found["canteen"], key=lambda pair: pair[1])
    assert biggest[1] >= 15, "the canteen's posts do not come together"
    housing = min((item for item, _ in found["housing"]), key=lambda item: item.id)
    assert housing.track == "burst"


@pytest.mark.slow
def test_the_officer_works_one_incident_to_its_evaluation_and_leaves_the_rest(
    finished: tuple[Path, run.Summary, list[str]],
) -> None:
    folder, _, _ = finished
    incidents = [incident for incident, _ in raised(folder).values()]
    states = Counter(str(item.state) for item in incidents)
    assert states["evaluated"] == 1
    done = next(item for item in incidents if item.state == State.EVALUATED)
    assert done.track == officer.TRACK
    assert done.responded_at is not None
    assert sum(states.values()) - 1 == states["detected"]


@pytest.mark.slow
def test_a_day_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "day"
    folder.mkdir()
    with CitySite(load_day(DAY), datetime(2026, 3, 3, tzinfo=city.ZONE)) as site:
        home = open_bundle(run.bundle_of(plan(folder), folder, site.base, "http://127.0.0.1:1/api/"))
        clock = run.SimulatedClock(datetime(2026, 3, 3, 8, 0, tzinfo=city.ZONE))
        walk = run.Walk(home, site, clock, plan(folder), lambda text: None)
        walk.through(datetime(2026, 3, 3, 9, 0, tzinfo=city.ZONE), lambda: False)
        with home.db.reading() as session:
            before = totals(session)
            assert count_unjudged(session) == 0
        home.db.close()
        (folder / run.MARKER).write_text(json.dumps({"day": DAY.isoformat(), "city": site.base}))
        summary = run.main(plan(folder, resume=True, city=site.base), lambda text: None)
    assert before.posts > 0
    assert summary.posts == len(load_day(DAY)), "posts of the interrupted day were lost or doubled"
    assert summary.chain_ok


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("the only copy")
    with pytest.raises(Problem, match=r"not the demo's.*--data"):
        run.main(plan(tmp_path), lambda text: None)
    assert (tmp_path / "thesis.txt").read_text() == "the only copy"


def test_the_demo_never_tells_real_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANSHENG_SLACK__TOKEN", "xoxb-of-the-real-office")
    monkeypatch.setenv("QUANSHENG_MAIL__HOST", "mail.of.the.real.office")
    monkeypatch.setenv("QUANSHENG_DATABASE__URL", "sqlite:////nowhere/real.db")
    settings = run.bundle_of(
        plan(tmp_path), tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:2/api/"
    ).settings
    assert settings.mail.host == ""
    assert settings.slack.token.get_secret_value() == TOKEN
    assert settings.slack.base_url == "http://127.0.0.1:2/api/"
    assert settings.database_url == f"sqlite:///{tmp_path / 'quansheng.db'}"


def test_the_demo_says_where_everything_is_and_stops_on_ctrl_c(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "cli", "demo", "--port", "0", "--data", str(tmp_path / "day")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(run.__file__).parent.parent,
    )
    # on a new machine the reader is compiled first, and an end waits for that
    killer = threading.Timer(400, child.kill)
    killer.start()
    try:
        assert child.stdout is not None
        banner: dict[str, str] = {}
        for line in child.stdout:
            found = re.match(r"  (Console|Slack|The city): +(http\S+)(.*)", line)
            if found:
                banner[found[1]] = found[2]
                banner["password"] = banner.get("password", "") or found[3]
            if "Ctrl-C stops" in line:
                break
        assert set(banner) == {"Console", "Slack", "The city", "password"}
        assert "password: " in banner["password"]
        assert httpx.get(f"{banner['Console']}/login").status_code == 200
        assert "假 Slack" in httpx.get(banner["Slack"]).text
        assert "虚构的泉城" in httpx.get(banner["The city"]).text
        child.send_signal(signal.SIGINT)
        rest, errors = child.communicate(timeout=300)
    finally:
        killer.cancel()
        child.kill()
    assert child.returncode == 0, errors
    assert "Stopped." in rest
    assert "Traceback" not in errors
