"""No personal data is written; what says where and what stays."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiders.redact import PUBLIC_NUMBERS, pseudonym, redact, redact_all, redact_value, without_author

PERSONAL = [
    ("请回电13812345678谢谢", "13812345678", "mobile"),
    ("手机138-1234-5678", "138-1234-5678", "mobile"),
    ("电话+86 138 1234 5678", "138 1234 5678", "mobile"),
    ("电话１３８１２３４５６７８", "１３８", "mobile"),
    ("加我一三八一二三四五六七八", "一三八一二三四五六七八", "mobile"),
    ("联系0531-82345678", "82345678", "landline"),
    ("联系（0531）8234 5678转12", "8234 5678", "landline"),
    ("电话82345678", "82345678", "landline"),
    ("身份证37010219900307123X", "37010219900307123X", "id_card"),
    ("证件号370102 19900307 1234", "19900307", "id_card"),
    ("老证370102900307123", "370102900307123", "id_card"),
    ("身份证号：3701021990", "3701021990", "id_card"),
    ("卡号6222 0212 3456 7890 123", "6222 0212", "bank_card"),
    ("打到4111111111111111", "4111111111111111", "bank_card"),
    ("写信到zhang.san@example.com", "zhang.san", "email"),
    ("肇事车鲁A·D12345逃逸", "D12345", "plate"),
    ("鲁A8Q123堵门", "8Q123", "plate"),
    ("加微信：wxid_abc123", "wxid_abc123", "wechat"),
    ("vx zhangsan88", "zhangsan88", "wechat"),
    ("QQ：123456789", "123456789", "qq"),
    ("我住3号楼2单元301室", "301", "door"),
    ("家住5栋1203", "1203", "door"),
    ("阳光花园12-2-301漏水", "12-2-301", "door"),
    ("十二号楼三单元五〇一", "三单元", "door"),
    ("联系人：张三丰", "张三丰", "name"),
    ("我叫欧阳小明，", "欧阳小明", "name"),
    ("业主李建国说漏水", "李建国", "name"),
    ("投诉人王芳（女）", "王芳", "name"),
    ("王小明先生来电", "王小明", "name"),
]


@pytest.mark.parametrize(("text", "secret", "kind"), PERSONAL)
def test_personal_data_is_taken_out(text: str, secret: str, kind: str) -> None:
    found = redact(text)
    assert secret not in found.text
    assert kind in found.counts


STAYS = [
    "打了12345和110都没用，12315也不管",
    "拨打12319供热热线、12329公积金热线",
    "历下区泉城路街道某小区3号楼电梯停运3天",
    "2026年11月24日9:30，全区共1234567人",
    "赔偿12345678元，面积1200平方米",
    "业主高度关注，学生高考在即，家长都很着急",
    "工单20261124000123已办结",
    "见http://www.example.cn/art/2026/11/24/art_13812345678_1.html",
    "王先生反映，张女士补充",
    "第3栋的住户都停水了",
    "客服400-123-4567无人接听",
    "电话95598也打不通",
    "涨价12-15元",
    "2019-07-01起施工",
]


@pytest.mark.parametrize("text", STAYS)
def test_public_facts_stay(text: str) -> None:
    assert redact(text).text == text


@pytest.mark.parametrize("number", sorted(PUBLIC_NUMBERS))
def test_public_service_numbers_stay(number: str) -> None:
    assert number in redact(f"打电话{number}没人接").text


def test_redacting_twice_changes_nothing() -> None:
    text = "，".join(text for text, _, _ in PERSONAL)
    once = redact(text).text
    assert redact(once).text == once


def test_the_estate_is_kept_when_the_door_goes() -> None:
    assert redact("历下区阳光花园3号楼2单元301室漏水").text == "历下区阳光花园[门牌]漏水"


@given(st.text(max_size=200))
def test_any_text_can_be_redacted(text: str) -> None:
    assert isinstance(redact(text).text, str)


@given(
    st.text(alphabet="停水了，。 ", max_size=20),
    st.integers(13000000000, 19999999999),
    st.text(alphabet="停水了，。 ", max_size=20),
)
def test_no_mobile_number_survives_between_other_words(before: str, number: int, after: str) -> None:
    assert str(number) not in redact(f"{before}{number}{after}").text


def test_a_pseudonym_needs_the_key_and_differs_between_sources() -> None:
    one = pseudonym(b"key", "forum", "张三")
    assert one == pseudonym(b"key", "forum", " 张三 ")
    assert one not in (
        None,
        pseudonym(b"other", "forum", "张三"),
        pseudonym(b"key", "weibo", "张三"),
        pseudonym(b"key", "forum", "李四"),
    )
    assert one is not None
    assert "张三" not in one


@pytest.mark.parametrize("nobody", [None, "", "  ", "匿名", "网友", "anonymous", "匿名用户"])
def test_nobody_has_no_pseudonym(nobody: str | None) -> None:
    assert pseudonym(b"key", "forum", nobody) is None


def test_set_aside_values_hold_no_person() -> None:
    row = {
        "姓名": "张三",
        "联系电话": 13812345678,
        "诉求内容": "电话13812345678，停水",
        "nested": {"author": {"name": "李四"}, "list": ["a@b.cn", 13812345678]},
        "数量": 3,
    }
    kept = redact_value(row)
    assert kept["数量"] == 3
    assert kept["诉求内容"] == "电话[手机号]，停水"
    assert not any(secret in repr(kept) for secret in ("张三", "李四", "13812345678", "a@b.cn"))


@pytest.mark.parametrize(
    ("title", "text", "clean"),
    [
        ("", "我叫欧阳流云，欧阳流云的孩子。——欧阳流云", "我叫[姓名]，[姓名]的孩子。——[姓名]"),
        ("", "我叫张三，张三丰的庙。——张三", "我叫[姓名]，张三丰的庙。——[姓名]"),
        ("作者：泉边老柳", "泉边老柳说停水", "[姓名]说停水"),
        ("", "转自@泉边老柳：停水了 @济南市公安局", "转自@[网名]：停水了 @济南市公安局"),
        ("", "作者：济南日报 社会工作者：王", "作者：济南日报 社会工作者：王"),
        ("", "加微信liuyun88，liuyun88", "加微信[微信号]，[姓名]"),
        ("", "写信 a@b.cn 或 3@5", "写信 [邮箱] 或 3@5"),
    ],
)
def test_a_name_that_the_text_gives_away_is_taken_out_everywhere(title: str, text: str, clean: str) -> None:
    redacted = redact_all(title, text)
    assert redacted[1].text == clean
    assert [one.text for one in redact_all(*(one.text for one in redacted))] == [one.text for one in redacted]


@pytest.mark.parametrize(
    ("author", "text", "clean"),
    [
        ("泉边老柳", "停水了。——泉边老柳", "停水了。——[网名]"),
        ("Liuyun_88", "liuyun_88：停水了", "[网名]：停水了"),
        ("王小明", "王小明家停水", "[网名]家停水"),
        # offices and media keep their names, and a short nickname is a word like others
        ("济南日报", "济南日报讯", "济南日报讯"),
        ("小雨", "昨夜小雨", "昨夜小雨"),
        ("匿名", "匿名反映", "匿名反映"),
        (None, "停水了", "停水了"),
    ],
)
def test_an_author_does_not_stay_in_the_text(author: str | None, text: str, clean: str) -> None:
    assert without_author(text, author) == clean


@pytest.mark.parametrize("run", ["1", "1 ", "a.", "0531-", "点a", "一", "鲁A", "业主王", "😊"])
def test_a_long_run_of_what_patterns_begin_with_costs_no_more_than_its_length(run: str) -> None:
    begun = time.process_time()
    redact(run * 4000)
    short = time.process_time() - begun
    begun = time.process_time()
    redact(run * 16000)
    # four times the text in less than twelve times the time, where a square would take sixteen
    assert time.process_time() - begun < 12 * short + 0.5
