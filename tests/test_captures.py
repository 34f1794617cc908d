"""Captured pages and answers of Weibo and Tieba become posts; what is none is set aside with its reason. All texts are invented."""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from incidents.posts import NewPost, list_quarantine
from incidents.session import Database
from spiders.captures import mid_of
from spiders.importer import BadRow, UnreadableFile, import_file, read_posts
from spiders.profiles import Profile, load_profile

KEY = b"k" * 32
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
TAKEN = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)  # noon in Jinan


def profile(name: str, taken: datetime | None = None) -> Profile:
    return load_profile(Path(name)).model_copy(update={"captured_at": taken})


def read(path: Path, name: str, taken: datetime | None = None) -> tuple[list[NewPost], list[BadRow]]:
    found = list(read_posts(path, KEY, NOW, profile(name, taken)))
    return [f for f in found if isinstance(f, NewPost)], [f for f in found if isinstance(f, BadRow)]


def saved(folder: Path, name: str, value: Any) -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
    return path


# --- Weibo


def mblog(number: int, text: str, **more: Any) -> dict[str, Any]:
    return {
        "id": str(5100000000000000 + number),
        "mid": str(5100000000000000 + number),
        "bid": "x",
        "created_at": "Sun Nov 22 09:33:57 +0800 2026",
        "text": text,
        "isLongText": False,
        "user": {"id": 1234567890, "screen_name": "泉边人"},
        "region_name": "发布于 山东",
        "reposts_count": 1,
        "comments_count": 2,
        "attitudes_count": 3,
        **more,
    }


def cards(*posts: dict[str, Any]) -> dict[str, Any]:
    return {
        "ok": 1,
        "data": {
            "cardlistInfo": {"total": len(posts)},
            "cards": [{"card_type": 9, "mblog": p} for p in posts],
        },
    }


def test_cards_of_m_weibo_become_posts_without_their_authors(tmp_path: Path) -> None:
    first = mblog(1, '停水三天<a href="/n/x">@某人</a> <span class="url-icon"><img alt="[怒]"></span>')
    group = {
        "card_type": 11,
        "card_group": [{"card_type": 9, "mblog": mblog(2, "路灯坏了")}, {"card_type": 42, "desc": "广告"}],
    }
    answer = cards(first)
    answer["data"]["cards"].append(group)
    good, bad = read(saved(tmp_path, "a.json", answer), "weibo")
    assert bad == []
    assert [post.text for post in good] == ["停水三天@[网名]", "路灯坏了"]
    one = good[0]
    assert one.external_id == "5100000000000001"
    assert one.published_at == datetime(2026, 11, 22, 1, 33, 57, tzinfo=UTC)
    assert one.engagement == {"likes": 3, "comments": 2, "reposts": 1}
    assert one.url == "https://m.weibo.cn/detail/5100000000000001"
    assert one.author_key
    assert "泉边人" not in repr(one)
    assert "1234567890" not in repr(one)
    assert one.source_id == "weibo-capture"


def test_a_post_in_two_answers_is_taken_once_with_its_longest_text_and_an_original_for_itself(
    tmp_path: Path,
) -> None:
    short = mblog(1, '自来水发黄已经...<a href="/status/1">全文</a>', isLongText=True)
    whole = {"ok": 1, "data": mblog(1, "x", longText={"longTextContent": "自来水发黄已经三天，没有人管"})}
    repost = mblog(2, "我家也是", retweeted_status=mblog(3, "某小区自来水发黄"))
    good, bad = read(saved(tmp_path, "a.json", [cards(short, repost), whole]), "weibo")
    assert bad == []
    assert [post.text for post in good] == ["自来水发黄已经三天，没有人管", "我家也是", "某小区自来水发黄"]
    lines = "\n".join(json.dumps(one) for one in (cards(short), cards(repost)))
    good, _ = read(saved(tmp_path, "b.jsonl", lines), "weibo")
    assert [post.text for post in good] == ["自来水发黄已经", "我家也是", "某小区自来水发黄"]
    # as browsers' exports write it: no line ends at a separator inside a text
    cut = json.dumps(cards(mblog(4, "停水\u2028三天了")), ensure_ascii=False)
    good, bad = read(saved(tmp_path, "c.jsonl", f"{cut}\n{cut}\n"), "weibo")
    assert (len(good), bad) == (1, [])


def test_comments_old_and_new(tmp_path: Path) -> None:
    def comment(number: int, text: str, **more: Any) -> dict[str, Any]:
        return {
            "id": str(number),
            "created_at": "Sun Nov 22 10:00:00 +0800 2026",
            "text": text,
            "user": {"id": 7},
            **more,
        }

    hotflow = {
        "ok": 1,
        "data": {"data": [comment(1, "我家也停", like_count=5, comments=[comment(2, "同停")])], "max_id": 0},
    }
    old = {
        "ok": 1,
        "data": {"data": [comment(3, "修好了吗", like_counts=1)], "hot_data": [comment(4, "没有")]},
    }
    good, bad = read(saved(tmp_path, "a.json", [hotflow, old]), "weibo")
    assert bad == []
    assert [(post.external_id, post.text) for post in good] == [
        ("1", "我家也停"),
        ("2", "同停"),
        ("3", "修好了吗"),
        ("4", "没有"),
    ]
    assert [post.engagement.get("likes") for post in good] == [5, None, 1, None]


def test_refusals_deleted_posts_and_long_texts_without_a_post_are_set_aside(
    db: Database, tmp_path: Path
) -> None:
    answers = [
        {"ok": -100, "url": "https://m.weibo.cn/captcha"},
        cards(mblog(1, "停水"), mblog(2, "", created_at=None)),
        {"ok": 1, "data": {"longTextContent": "无主的长文"}},
        7,
    ]
    report = import_file(db, saved(tmp_path, "a.json", answers), profile("weibo"), KEY, NOW)
    assert (report.saved, report.bad) == (1, 4)
    with db.reading() as session:
        reasons = [row.reason for row in list_quarantine(session)]
    assert any("refusal (ok = -100" in reason for reason in reasons)
    assert any("deleted" in reason for reason in reasons)
    again = import_file(db, tmp_path / "a.json", profile("weibo"), KEY, NOW)
    assert (again.saved, again.repeats) == (0, 1)


def test_times_that_count_from_the_capture_need_its_time(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        "a.json",
        cards(mblog(1, "停水", created_at="昨天 12:30"), mblog(2, "停电", created_at="11-20")),
    )
    good, bad = read(path, "weibo")
    assert good == []
    assert all("captured_at" in row.reason for row in bad)
    good, bad = read(path, "weibo", TAKEN)
    assert bad == []
    assert [post.published_at for post in good] == [
        datetime(2026, 11, 22, 4, 30, tzinfo=UTC),
        datetime(2026, 11, 19, 16, 0, tzinfo=UTC),
    ]


WEIBO_CN = """<?xml version="1.0" encoding="UTF-8"?><html><body>
<div class="c" id="M_z0JH2lOMb"><div><span class="ctt">停水三天没人管</span></div><div><a href="/attitude">赞[12]</a>&nbsp;<a>转发[3]</a>&nbsp;
<a href="https://weibo.cn/comment/z0JH2lOMb?uid=1234567890&amp;rl=0#cmtfrm" class="cc">评论[4]</a>&nbsp;<span class="ct">2026-11-20 18:12:00&nbsp;来自某客户端</span></div></div>
<div class="c" id="M_yCtxn8IXR"><div><span class="cmt">转发了&nbsp;<a href="/9">@某报</a>&nbsp;的微博:</span><span class="ctt">某地停水</span>&nbsp;<span class="cmt">赞[900]</span>&nbsp;
<span class="cmt">原文转发[800]</span></div><div><span class="cmt">转发理由:</span>我们这里也停&nbsp;&nbsp;<a>赞[1]</a>&nbsp;<a>转发[0]</a>&nbsp;<span class="ct">11月21日 09:00</span></div></div>
<div class="c" id="C_4512413737386822"><a href="/u/7654321">路人</a>:<span class="ctt">修好了吗</span>&nbsp;<span class="cc"><a>赞[2]</a></span><span class="ct">2026-11-20 19:00:00&nbsp;来自网页</span></div>
<div class="c">设置:皮肤</div></body></html>"""


def test_pages_of_weibo_cn(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.html", WEIBO_CN)
    good, bad = read(path, "weibo")
    assert len(bad) == 1
    good, bad = read(path, "weibo", TAKEN)
    assert bad == []
    assert [(post.external_id, post.text) for post in good] == [
        ("3501756485200075", "停水三天没人管"),
        ("3491700092079471", "我们这里也停"),
        ("4512413737386822", "修好了吗"),
    ]
    assert good[0].engagement == {"likes": 12, "comments": 4, "reposts": 3}
    assert good[0].author_key
    assert good[2].author_key
    assert good[2].url == ""
    assert "路人" not in repr(good)


def test_the_number_behind_a_short_key() -> None:
    assert mid_of("yCirT0Iox") == "3491273850170657"
    assert mid_of("no key!") == ""
    assert mid_of("") == ""


# --- Tieba


def field(value: Any) -> str:
    return html.escape(json.dumps(value), quote=True)


def floor(number: int, text: str, when: str = "2026-11-20 16:56") -> str:
    data = {
        "author": {"user_id": 99, "user_name": "泉边人", "portrait": "tb.1.abc?t=17"},
        "content": {
            "post_id": 150000000000 + number,
            "thread_id": 9100000001,
            "post_no": number,
            "comment_num": 2,
        },
    }
    return f"""<div class="l_post l_post_bright j_l_post clearfix " data-field="{field(data)}"><div class="d_author">泉边人</div>
    <div id="post_content_1" class="d_post_content j_d_post_content ">{text}</div>
    <div class="post-tail-wrap"><span>IP属地:山东</span><span class="tail-info">来自<a>客户端</a></span><span class="tail-info">{number}楼</span>
    <span class="tail-info">{when}</span></div></div>"""


REPLY = """<li class="lzl_single_post j_lzl_s_p " data-field="{'pid':'1','spid':'150000000077','user_name':'路人','portrait':'tb.1.xyz'}">
<div class="lzl_cnt"><a username="路人">路人</a> : <span class="lzl_content_main">同停</span><span class="lzl_time">2026-11-20 22:11</span></div></li>"""


def test_a_thread_page_gives_each_floor_and_each_reply(tmp_path: Path) -> None:
    picture = '<div class="replace_div"><img src="x.jpg"><div class="replace_tip">点击展开，查看完整图片</div></div>'
    advert = '<div class="l_post l_post_bright " data-field="{&quot;author&quot;:{}}">广告</div>'
    page = f"""<html><body><h3 class="core_title_txt pull-left" title="某小区停水">某小区停水</h3>
    {floor(1, "停水三天" + picture)}{advert}{floor(2, "我家也停")}{REPLY}</body></html>"""
    good, bad = read(saved(tmp_path, "a.html", page), "tieba")
    assert [(post.external_id, post.title, post.text) for post in good] == [
        ("150000000001", "某小区停水", "停水三天"),
        ("150000000002", "", "我家也停"),
        ("150000000077", "", "同停"),
    ]
    assert [row.reason for row in bad] == ["a post without its number (an advertisement)"]
    assert good[0].published_at == datetime(2026, 11, 20, 8, 56, tzinfo=UTC)
    assert good[0].url == "https://tieba.baidu.com/p/9100000001"
    assert good[0].engagement == {"comments": 2}
    assert all(post.author_key for post in good)
    assert "泉边人" not in repr(good)


def thread(number: int, when: str) -> str:
    data = {
        "id": 9100000000 + number,
        "author_name": "泉边人",
        "author_portrait": "tb.1.abc",
        "first_post_id": 150000000000 + number,
        "reply_num": 5,
    }
    return f"""<li class=" j_thread_list clearfix thread_item_box" data-field='{field(data)}'><a class="j_th_tit " title="停水{number}">停水{number}</a>
    <span class="pull-right is_show_create_time" title="创建时间">{when}</span><div class="threadlist_abs threadlist_abs_onlyline ">停水第{number}天</div></li>"""


@pytest.mark.parametrize("hidden", [False, True])
def test_a_list_page_gives_first_posts_also_from_the_comment_it_hides_them_in(
    tmp_path: Path, hidden: bool
) -> None:
    rows = f'<ul id="thread_list">{thread(1, "11-20")}{thread(2, "08:30")}{thread(3, "2014-03")}<li class=" j_thread_list thread_top" data-field="{{}}">公告</li></ul>'
    page = f'<html><body><code class="pagelet_html"><!--{rows}--></code></body></html>' if hidden else rows
    good, bad = read(saved(tmp_path, "a.html", page), "tieba", TAKEN)
    assert [(post.external_id, post.title, post.text) for post in good] == [
        ("150000000001", "停水1", "停水第1天"),
        ("150000000002", "停水2", "停水第2天"),
    ]
    assert good[1].published_at == datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
    assert ["names no day" in row.reason for row in bad] == [True, False]


def test_hits_of_the_search_as_page_and_as_json(tmp_path: Path) -> None:
    page = """<div class="s_post_list"><div class="s_post"><span class="p_title"><a href="/p/9100000001?pid=150000000001&amp;cid=0#1">某小区停水</a></span>
    <div class="p_content">停水三天</div>贴吧：<a class="p_forum" href="/f?kw=x">济南</a>作者：<a href="/home/main?un=abc"><font class="p_violet">泉边人</font></a>
    <font class="p_green p_date">2026-11-20 09:00</font></div></div>"""
    answer = {
        "no": 0,
        "error": "success",
        "data": {
            "has_more": 0,
            "post_list": [
                {
                    "tid": "9100000001",
                    "pid": "150000000001",
                    "title": "某小区<em>停水</em>",
                    "content": "停水三天",
                    "time": "1795136400",
                    "post_num": "5",
                    "like_num": "2",
                    "forum_name": "济南",
                    "user": {"user_id": 99, "show_nickname": "泉边人", "portrait": "tb.1.abc"},
                },
                {"title": "没有编号"},
            ],
        },
    }
    (from_page,), none = read(saved(tmp_path, "a.html", page), "tieba")
    (from_json,), bad = read(saved(tmp_path, "a.json", answer), "tieba")
    assert none == []
    assert [row.reason for row in bad] == ["a hit without its number"]
    for post in (from_page, from_json):
        assert (post.external_id, post.title, post.text) == ("150000000001", "某小区停水", "停水三天")
        assert post.published_at == datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
        assert post.author_key
        assert "泉边人" not in repr(post)
    assert from_json.engagement == {"likes": 2, "comments": 5}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.html", "<html><body>百度安全验证</body></html>", "says “百度安全验证”"),
        ("a.html", "<html><body>首页</body></html>", "no post found"),
        ("a.json", "<html>请登录</html>", "says “请登录” instead of JSON"),
        ("a.json", "{", "not JSON"),
        ("a.json", '{"no": 0, "data": {"post_list": []}}', "no post found"),
        ("a.pdf", "x", "is no capture"),
    ],
)
def test_a_wall_or_an_unknown_shape_is_told(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(UnreadableFile, match=words):
        read(saved(tmp_path, name, text), "tieba")


def test_captured_at_of_a_profile_needs_a_zone(tmp_path: Path) -> None:
    packaged = (Path(__file__).parent.parent / "spiders" / "profiles" / "weibo.yaml").read_text("utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(packaged.replace("# captured_at:", "captured_at:"), "utf-8")
    assert load_profile(path).captured_at == datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
    path.write_text(
        packaged.replace("# captured_at: 2026-11-24T10:00:00+08:00", "captured_at: 2026-11-24T10:00:00"),
        "utf-8",
    )
    with pytest.raises(Exception, match="captured_at"):
        load_profile(path)
