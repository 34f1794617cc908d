"""SnowNLP evaluated in compiled arrays is SnowNLP: same words, same value."""

from __future__ import annotations

import io
import json
import lzma
import subprocess
import sys

import numpy as np
import pytest

from analysis.fastsnow import load_snow
from analysis.snowpack import PACK, build

#: invented; chosen for the corners of the segmenter: runs of one, unseen characters, spaces, emoji, surrogates
TEXTS = [
    "这个小区的物业太差了，天天停电，没人管！",
    "孩子很喜欢新学校的食堂，老师也负责，非常感谢。",
    "泉景天沅三期 2 号楼 电梯坏了 三天了没修 hello world, OK？",
    "中",
    "中国",
    "我",
    "鿋鿋我們龘龘靐靐",
    "臺灣\x1f嗎\x85\u3000全角\u3000空格",
    "😀😀 哈哈哈 [允悲] #济南# http://example.invalid/x",
    "123 ，。 abc",
    "   ",
    "\ud800 坏字符",
    "的的的的的的的的",
    "一" * 300,
    "垃圾服务，再也不来了。\n\n\t态度恶劣",
    "不错不错，下次还来，味道很好，送餐快。",
    "丁亍七万丈三上下丌不与丏丐丑丒专且丕世丗丘丙业丛东丝丞丟両丢",
]


@pytest.fixture(scope="module")
def stock() -> dict[str, tuple[list[str], float]]:
    """The installed SnowNLP's own words and values, from a process of its own (its import costs 430 MB)."""
    code = (
        "import sys, json\n"
        "from snownlp import seg, sentiment\n"
        "texts = json.loads(sys.stdin.read())\n"
        "print(json.dumps([[seg.seg(t), sentiment.classify(t)] for t in texts]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        check=True,
    )
    return {t: (words, value) for t, (words, value) in zip(TEXTS, json.loads(done.stdout), strict=True)}


def test_words_and_values_are_those_of_snownlp(stock: dict[str, tuple[list[str], float]]) -> None:
    snow = load_snow()
    for text in TEXTS:
        words, value = stock[text]
        assert snow.words(text) == words, text
        assert snow.sentiment(text) == pytest.approx(value, abs=1e-9), text


def test_empty_text_gets_the_prior_instead_of_an_error() -> None:
    assert 0.0 < load_snow().sentiment("") < 1.0


@pytest.mark.slow
def test_shipped_pack_is_that_of_the_installed_snownlp() -> None:
    with (
        np.load(io.BytesIO(lzma.decompress(PACK.read_bytes()))) as shipped,
        np.load(io.BytesIO(lzma.decompress(build()))) as fresh,
    ):
        assert set(shipped.files) == set(fresh.files)
        for name in shipped.files:
            assert np.array_equal(shipped[name], fresh[name]), name
