"""Whom an incident complains about, and that nobody assigns it to them, whichever way the command comes in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from config.departments import Departments, load_departments
from config.files import DEFAULTS
from console import clerk
from console.context import Visit
from incidents import complained, lifecycle, queries
from incidents.complained import Complained, Text, accused, weigh
from incidents.installation import open_installation
from incidents.judgements import add_post, open_watching, save_judgements
from incidents.posts import NewPost, save_posts
from incidents.rebuild import differences
from incidents.revisions import revisions_of
from incidents.session import Database
from incidents.states import Assign, Confirm, Detect, Merge, NameComplained, Refused
from tests.judged import judged

NOW = datetime(2026, 11, 24, 7, 0, tzinfo=UTC)
WHO = {"actor": "lin", "channel": "console", "now": NOW}
Posts = Callable[..., NewPost]


@pytest.fixture(scope="module")
def jinan() -> Departments:
    return load_departments(DEFAULTS / "departments.yaml")


# --- pure ------------------------------------------------------------------------------------------------------------


def weighed(jinan: Departments, *texts: str, about: str = "", tone: str = "neg") -> Complained:
    return weigh(
        jinan,
        [Text(number, "", text, about, tone) for number, text in enumerate(texts, 1)],
        district="历下区",
    )


def test_one_plain_accusation_counts_among_many_posts(jinan: Departments) -> None:
    found = weighed(jinan, *["食堂的肉有味道"] * 20, "投诉市场监管局，包庇食堂")
    assert found.units == {"market-regulation"}
    (one,) = found.found
    assert (one.posts, one.plain, one.post_id) == (1, True, 21)
    assert one.written == ("市场监管局",)
    assert one.quote == "投诉市场监管局，包庇食堂"


def test_what_is_merely_about_a_unit_counts_as_a_share(jinan: Departments) -> None:
    text = "市教育局的积分入学政策不公平"
    assert weighed(jinan, text, "学校没有答复", "报名难", about="department").units == {"education"}
    few = weighed(jinan, text, *["报名难"] * 4, about="department")
    assert few.units == frozenset()
    # but that one post still does
    assert few.of_post(1) == {"education"}
    assert few.of_post(2) == frozenset()


def test_praise_and_news_are_no_complaints(jinan: Departments) -> None:
    text = "市教育局的政策出来了"
    assert weighed(jinan, text, about="department").units == {"education"}
    assert weighed(jinan, text, about="department", tone="pos").units == frozenset()
    assert weighed(jinan, text, about="department", tone="neu").units == frozenset()


def test_a_person_adds_and_takes_out(jinan: Departments) -> None:
    texts = [Text(1, "", "投诉市城管局")]
    said = weigh(jinan, texts, named=("police",), cleared=("urban-management",))
    assert said.units == {"police"}
    assert said.of_post(1) == frozenset()
    assert [one.unit for one in said.found] == ["urban-management"]


def test_a_name_that_was_taken_out_again_still_counts(db: Database, post: Posts, jinan: Departments) -> None:
    texts = [
        Text(1, "", "食堂的肉有味道", before=("投诉市场监管局，包庇食堂",)),
        Text(2, "", "食堂的肉有味道"),
    ]
    found = weigh(jinan, texts)
    assert found.units == {"market-regulation"}
    assert found.of_post(1) == {"market-regulation"}
    assert accused(jinan, texts[0]) == {"market-regulation"}
    assert accused(jinan, texts[1]) == frozenset()
    words = ("投诉市场监管局，包庇食堂", "投诉食堂的肉有味道", "食堂的肉有味道，家长担心")
    with db.transaction() as session:
        made = open_watching(
            session, title="食堂", domain="food_safety", district="历下区", first_posted_at=NOW, sketch={}
        )
        for at, text in enumerate(words):
            read = replace(
                post(text, external_id="1", published_at=NOW, fetched_at=NOW + timedelta(hours=at)),
                whole=True,
                provenance={"kind": "rss", "reader": "1", "extractor": "x"},
            )
            save_posts(session, [read])
        add_post(session, made, 1, similarity=1, voice=True, published_at=NOW, negative=True, now=NOW)
    with db.reading() as session:
        view = queries.get_incident(session, made)
        assert view is not None
        assert len(revisions_of(session, 1)) == 2
        situation = lifecycle.situation_of(session, made)
        about = complained.read(session, jinan, made, "历下区", situation)
        shown = queries.posts_of(session, made)
    assert about.units == {"market-regulation"}
    here = SimpleNamespace(
        console=SimpleNamespace(bundle=SimpleNamespace(departments=jinan)),
        account=SimpleNamespace(department="market-regulation"),
    )
    assert clerk.posts(cast("Visit", here), view, about, shown) == ([], 1)
    here.account.department = "education"
    (seen,), left_out = clerk.posts(cast("Visit", here), view, about, shown)
    assert (seen.text, seen.words_before, left_out) == ("食堂的肉有味道，家长担心", "", 0)


def test_nothing_is_complained_of_without_posts(jinan: Departments) -> None:
    assert weigh(jinan, []) == Complained()


# --- in the database ---------------------------------------------------------------------------------------------


def incident_of(
    db: Database, post: Posts, *texts: str, domain: str = "food_safety", copy: str = "", about: str = ""
) -> int:
    """A confirmed incident with these posts; `copy` is a near-copy of the first one."""
    with db.transaction() as session:
        incident = open_watching(
            session, title="事件", domain=domain, district="历下区", first_posted_at=NOW, sketch={}
        )
        ids = save_posts(session, [post(text) for text in (*texts, *([copy] if copy else []))]).ids
        save_judgements(
            session,
            [
                judged(
                    post_id,
                    domain=domain,
                    near_copy_of=ids[0] if copy and post_id == ids[-1] else None,
                    about=about,
                )
                for post_id in ids
            ],
            NOW,
        )
        for post_id in ids:
            add_post(
                session,
                incident,
                post_id,
                similarity=0.9,
                voice=True,
                published_at=NOW,
                negative=True,
                now=NOW,
            )
        for command in (Detect("burst", {}), Confirm()):
            lifecycle.handle(session, incident, command, **WHO)  # type: ignore[arg-type]
    return incident


def assign(db: Database, incident: int, command: Assign | NameComplained, minutes: int = 1) -> None:
    lifecycle.handle_or_refuse(
        db, incident, command, actor="lin", channel="console", now=NOW + timedelta(minutes=minutes)
    )


def test_a_unit_that_is_complained_of_neither_leads_nor_helps(
    any_db: Database, post: Posts, jinan: Departments
) -> None:
    any_db.know(jinan)
    incident = incident_of(any_db, post, "食堂的肉有味道", "向市场监管局反映多次，没人管")
    for command in (
        Assign("market-regulation"),
        Assign("health-commission", co=("lixia", "market-regulation")),
        Assign("market-regulation", reason="就近", decided_by="市长办公会"),
    ):
        with pytest.raises(Refused) as caught:
            assign(any_db, incident, command)
        assert "诉求涉及市市场监督管理局，不能由其承办或协办" in caught.value.zh
        assert caught.value.en.startswith("市市场监督管理局: complained of here, can neither lead nor help")
        for sentence in (caught.value.zh, caught.value.en):
            assert "济南市12345市民服务热线条例第32条" in sentence
            assert "不得将控告、举报材料和来电人信息" in sentence
    assign(any_db, incident, Assign("health-commission", co=("lixia",)))
    with any_db.reading() as session:
        kinds = [(e.kind, e.payload) for e in queries.events_of(session, incident)]
        refused = [e for e in queries.latest_events(session) if e.kind == "refused"]
    assert kinds[-1][0] == "assigned"
    assert kinds[-1][1]["avoided"] == ["market-regulation"]
    assert len(refused) == 3
    assert refused[0].payload["command"] == "Assign"


def test_a_near_copy_is_no_second_voice(db: Database, post: Posts, jinan: Departments) -> None:
    db.know(jinan)
    incident = incident_of(
        db, post, "报名难", "市教育局的政策不公平", *["学位不够"] * 3, copy="报名难（转）", about="department"
    )
    with db.reading() as session:
        found = lifecycle.complained_of(session, jinan, incident, "历下区")
    # one of five, the copy left out
    assert found.units == frozenset()


def test_a_corrected_list_decides_and_stands_in_the_record(
    db: Database, post: Posts, jinan: Departments
) -> None:
    db.know(jinan)
    incident = incident_of(db, post, "投诉市场监管局")
    with pytest.raises(Refused, match="needs a reason"):
        assign(db, incident, NameComplained((), ("market-regulation",), " "))
    with pytest.raises(Refused, match="cannot be complained of and not be"):
        assign(db, incident, NameComplained(("police",), ("police",), "笔误"))
    assign(db, incident, NameComplained(("police",), ("market-regulation",), "是投诉到市场监管局"))
    with pytest.raises(Refused, match="nothing new"):
        assign(db, incident, NameComplained(("police",), ("market-regulation",), "再说一遍"))
    with pytest.raises(Refused, match="市公安局: complained of"):
        assign(db, incident, Assign("police"))
    assign(db, incident, Assign("market-regulation"))
    with db.reading() as session:
        said = [e for e in queries.events_of(session, incident) if e.kind == "complained_named"]
        assert list(differences(session)) == []
    assert said[0].payload == {
        "units": ["police"],
        "cleared": ["market-regulation"],
        "reason": "是投诉到市场监管局",
    }


def test_where_nobody_is_left_supervision_decides_with_a_reason(
    db: Database, post: Posts, jinan: Departments
) -> None:
    db.know(jinan)
    incident = incident_of(db, post, "投诉市政府办公厅", domain="other")
    for command in (
        Assign("justice"),
        Assign("justice", decided_by="省政府督查室"),
        Assign("justice", reason="x"),
    ):
        with pytest.raises(Refused, match="supervision or a superior body names the handler") as caught:
            assign(db, incident, command)
        assert "第32条" in caught.value.zh
    # the unit complained of is no way out, whoever decides
    with pytest.raises(Refused, match="市政府办公厅: complained of"):
        assign(db, incident, Assign("city-office", reason="x", decided_by="省政府督查室"))
    assign(db, incident, Assign("justice", reason="督查室指定", decided_by="省政府督查室"))
    with db.reading() as session:
        event = queries.events_of(session, incident)[-1]
    assert (event.payload["decided_by"], event.payload["reason"]) == ("省政府督查室", "督查室指定")
    assert event.payload["avoided"] == ["city-office"]


def test_a_superior_body_decides_only_where_nobody_is_left(
    db: Database, post: Posts, jinan: Departments
) -> None:
    db.know(jinan)
    incident = incident_of(db, post, "投诉市场监管局")
    with pytest.raises(Refused, match="only where nobody is"):
        assign(db, incident, Assign("health-commission", reason="x", decided_by="省政府督查室"))
    plain = incident_of(db, post, "食堂的肉有味道")
    with pytest.raises(Refused, match="only where nobody is"):
        assign(db, plain, Assign("market-regulation", reason="x", decided_by="省政府督查室"))


def test_if_every_unit_of_the_city_is_complained_of_a_decision_may_name_one(
    db: Database, post: Posts
) -> None:
    small = Departments.model_validate(
        {
            "supervision": "office",
            "departments": [
                {"id": "office", "name": "市政府办公厅", "kind": "supervision"},
                {"id": "bureau", "name": "市综合局", "superior": "office"},
            ],
            "duties": [{"domain": "other", "lead": "bureau"}],
        }
    )
    db.know(small)
    incident = incident_of(db, post, "投诉市政府办公厅", domain="other")
    with pytest.raises(Refused, match="names the handler"):
        assign(db, incident, Assign("bureau"))
    assign(db, incident, Assign("bureau", reason="省里交办", decided_by="省政府督查室"))


def test_the_posts_of_a_merged_incident_count(db: Database, post: Posts, jinan: Departments) -> None:
    db.know(jinan)
    parent, child = incident_of(db, post, "食堂的肉有味道"), incident_of(db, post, "投诉市场监管局")
    with db.transaction() as session:
        lifecycle.handle(session, child, Merge(parent), **WHO)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="市市场监督管理局: complained of"):
        assign(db, parent, Assign("market-regulation"))


def test_many_are_read_as_each_would_be(any_db: Database, post: Posts, jinan: Departments) -> None:
    any_db.know(jinan)
    first = incident_of(any_db, post, "投诉市场监管局", "市教育局的政策不公平")
    second = incident_of(any_db, post, "投诉市卫健委", "公交站牌坏了")
    third = incident_of(any_db, post, "停水三天无人管")
    assign(any_db, first, NameComplained(("police",), ("market-regulation",), "是投诉到市场监管局"))
    with any_db.transaction() as session:
        assert lifecycle.handle(session, third, Merge(second), actor="lin", channel="console", now=NOW)
    districts = {first: "历下区", second: "", third: "市中区"}
    for _ in range(2):  # the second time the folds are known
        with any_db.reading() as session:
            together = lifecycle.complained_of_all(session, jinan, districts)
            alone = {
                id_: lifecycle.complained_of(session, jinan, id_, place) for id_, place in districts.items()
            }
        assert together == alone
    assert together[first].named == ("police",)
    assert together[second].units
    assign(any_db, first, NameComplained((), (), "并非投诉市公安局"), minutes=2)
    with any_db.reading() as session:
        assert lifecycle.complained_of_all(session, jinan, {first: "历下区"})[first].named == ()
        assert lifecycle.complained_of_all(session, jinan, {}) == {}


def test_an_installation_is_opened_with_its_departments(tmp_path: object) -> None:
    home = open_installation(None, data_dir=tmp_path, config_dir=tmp_path)
    try:
        with home.db.reading() as session:
            assert session.info["departments"] is home.bundle.departments
    finally:
        home.db.close()


def test_without_departments_what_people_named_is_still_refused(db: Database, post: Posts) -> None:
    incident = incident_of(db, post, "食堂的肉有味道")
    assign(db, incident, NameComplained(("bureau",), (), "来电人投诉该局"))
    with pytest.raises(Refused, match="can neither lead nor help"):
        assign(db, incident, Assign("other", co=("bureau",)))
