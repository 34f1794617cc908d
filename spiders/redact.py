"""Remove personal data from text before anything is written.

What is replaced, by what, and what stays on purpose is told in docs/privacy.md. The replacement words hold no
digits and no names, so redacting twice changes nothing. Estates, streets, schools, shops and building numbers
stay: they say *where* a matter is, for many households at once. Public service numbers (12345, 110, ...) stay.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: code points below which decorated digits live: super- and subscripts, circles, brackets, dots, mathematical, Arabic
_DIGIT_BLOCKS = ((0xB2, 0xBA), (0x660, 0x66A), (0x6F0, 0x6FA), (0x2070, 0x208A), (0x2460, 0x249C), (0x24EA, 0x24EB), (0x24F5, 0x24FE), (0x2776, 0x2794), (0xFF10, 0xFF1A), (0x1D7CE, 0x1D800), (0x1FBF0, 0x1FBFA))  # fmt: skip
#: full-width and decorated digits and letters that people type to get past filters; one character for one
_WIDE = {
    code: str(digit)
    for start, end in _DIGIT_BLOCKS
    for code in range(start, end)
    if (digit := unicodedata.digit(chr(code), -1)) >= 0
}
_WIDE |= {ord("Ａ") + i: chr(ord("A") + i) for i in range(26)}
_WIDE |= {ord("ａ") + i: chr(ord("a") + i) for i in range(26)}
_WIDE |= dict(zip(map(ord, "－—–＠＋：．　\xa0（）＃＿•・∙／"), "---@+:.  ()#_···/", strict=True))

#: what people put between the characters of a number so that no filter finds it; emoji and keycaps among it
_GAP = "[ \t_.·*~/|()\u200b-\u200f\u2060\ufe0f\u20e3☀-➿\U0001f000-\U0001faff-]{0,3}"
#: numerals, also as they are called over the radio (幺 1, 两 2, 拐 7, 洞 0, 勾 9) and as accountants write them
_HAN = dict(
    zip(
        "零〇洞一壹幺么二贰两三叁四肆五伍六陆七柒拐八捌九玖勾",
        "0001111222334455667778899 9".replace(" ", ""),
        strict=True,
    )
)
#: characters and letters that stand for a digit because they sound or look like one
_LIKE = dict(
    zip(
        "oOlI铃灵衣医依儿耳而伞散扒吧爸巴思司丝死午舞吾溜流留刘气其奇妻期久酒就",
        "001100111222338888444455566667777799 9".replace(" ", ""),
        strict=True,
    )
)
_TO_DIGIT = str.maketrans(_HAN | _LIKE)
_D = f"[0-9{''.join(_HAN)}]"
_DL = f"[0-9{''.join(_HAN)}{''.join(_LIKE)}]"

_URL = re.compile(r"https?://[^\s<>\"'，。；、）】一-鿿]+", re.IGNORECASE)
# bounded, since a long run of letters without an @ would else be read again from each of them
_EMAIL = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}(?:点[A-Za-z0-9]{1,32}){0,2}(?:\s?@\s?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"
    # riddles need an ending that everybody knows, else a # or 点 would be believed
    r"|(?:\s?(?:[@#]|[\[(【]\s?(?:at|AT|@)\s?[\])】]|艾特|圈[aA])\s?| (?:at|AT) )[A-Za-z0-9-]+(?:(?:\s?[.点。]\s?| dot |[(（\[]dot[)）\]])[A-Za-z0-9-]+)*(?:\s?[.点。]\s?| dot |[(（\[]dot[)）\]])(?:com|cn|net|org|COM|CN|NET|ORG)(?![A-Za-z0-9]))"
)
_ID18 = re.compile(
    rf"(?<![0-9A-Za-z])[1-8一二三四五六七八壹贰叁肆伍陆柒捌幺](?:{_GAP}{_D}){{16}}{_GAP}(?:{_D}|[Xx])(?![0-9A-Za-z])"
)
_ID15 = re.compile(r"(?<!\d)[1-8]\d{5}\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}(?!\d)")
_ID_NAMED = re.compile(r"(?<=身份证)((?:号码?|件号码?)?\s*[:是为]?\s*)([0-9][0-9Xx*]{5,17})(?![0-9])")
_CARD = re.compile(rf"(?<![0-9A-Za-z-])(?<!\d[.,])[3-9三四五六七八九](?:{_GAP}{_D}){{15,18}}(?![\d-])")
_CARD_NAMED = re.compile(
    r"(?:银行卡|卡号|账号|帐号|账户|社保卡|医保卡|公积金账)(?:号码?)?\s*[:是为]?\s*(\d[\d -]{7,40}\d)"
)
_MOBILE = re.compile(
    r"(?<![\dA-Za-z])(?:\+?86[ -]?)?(1[3-9]\d(?:[ -]?\d{4}){2}|1[3-9]\d{2}[ -]?\d{3}[ -]?\d{4})(?!\d)"
)
_MOBILE_RIDDLE = re.compile(
    rf"(?<![0-9A-Za-z])(?<!\d\.)(?:\+?86{_GAP})?\(?[1一壹幺么衣医依lI](?:{_DL}{{2}}(?:[，,、]{_DL}{{4}}){{2}}|(?:{_GAP}{_DL}){{10}})[\ufe0f\u20e3]{{0,2}}"
)
_LANDLINE = re.compile(
    r"(?<![\d.-])(?:\(0[1-9]\d{1,2}\)|（0[1-9]\d{1,2}）|0[1-9]\d{1,2})[ -]{0,2}[2-8]\d{2,3}[ -]?\d{4}(?:(?:-|转)\d{1,5})?(?![\d.])"
)
_LANDLINE_RIDDLE = re.compile(rf"(?<![0-9A-Za-z.])\(?[0零〇洞](?:{_GAP}{_D}){{9,11}}(?!\d)")
_PHONE_NAMED = re.compile(
    r"(?:电话|座机|固话|手机|号码|致电|来电|拨打|热线|联系方式|[Tt][Ee][Ll])[号为是:( ]{0,3}(\d{3,4}[ -]?\d{4})(?!\d)"
)
_PLATE = re.compile(
    r"(?<![A-Za-z])[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼魯蘇滬遼雲贛陝閩貴粵寧瓊]"
    + rf"{_GAP}[A-HJ-NP-Za-hj-np-z](?:(?:{_GAP}[A-HJ-NP-Za-hj-np-z0-9]){{4,6}}|(?:{_GAP}{_D}){{5,6}})(?:[挂学警港澳使领试超]|(?![A-Za-z0-9]))"
)
_WECHAT = re.compile(
    rf"((?:[微威薇徽维嶶溦巍]{_GAP}(?:信|xin)|[Ww][Ee][Ii]{_GAP}(?:信|[Xx][Ii][Nn])|[Ww]e[Cc]hat|(?<![A-Za-z0-9/+])(?:[Vv][Xx]|[Ww][Xx]|[Vv]{_GAP}信|[VvWw威微薇][❤♥])|[Vv]我(?=:)|(?:加我?|(?<![A-Za-z0-9/])\+){_GAP}[Vv薇威]|加?卫星|绿泡泡)(?:号码?|ID|id)?{_GAP}[:是为]?\s*)([A-Za-z][A-Za-z0-9_-]{{5,19}}|\d{{6,12}})(?![A-Za-z0-9_-])"
)
_QQ = re.compile(
    rf"((?:(?<![A-Za-z])[Qq]{_GAP}[Qq]|扣{_GAP}扣|企鹅|群号|球球|秋秋|扣(?=群)|[加的]扣|(?<![A-Za-z])[Qq](?=[:号群是])|(?<=[加的和或者])[Qq])\s?(?:号码?|群号?)?\s*[:是为]?\s*)([1-9](?:{_GAP}\d){{4,11}})(?!\d)"
)

_MENTION = re.compile(r"(?<![A-Za-z0-9@])@([A-Za-z0-9_·一-鿿-]{2,16})")
#: bylines of pages that name no author field
_BYLINE = re.compile(
    r"((?:(?<![工合写])作者|发帖人|发布人|发布者|楼主|昵称|用户名|微博名|网名)\s?:\s?)([^\s,，。；;、:：!！?？“”\"'《》\[\]【】()（）]{2,20})"
)
#: mentions of offices, media and firms stay: they say whom a matter concerns
_OFFICIAL = re.compile(
    r"局|委|办|政府|发布|公安|警|热线|报|台|电视|新闻|网$|消防|法院|检察|教育|城管|市长|区长|书记|济南|山东|人民|央视|社区|街道|医院|大学|"
    r"中学|小学|学校|幼儿园|公司|集团|银行|地铁|公交|供电|热力|水务|燃气|物业|12345|12315"
)

_N = r"(?:\d{1,4}|[一二三四五六七八九十百]{1,4}|[A-Za-z]\d{0,2})"
_BUILDING = rf"{_N}\s?(?:号\s?楼|栋|幢|座|#楼|#)"
_UNIT = rf"(?:{_N}\s?(?:单\s?元|门洞)|[东西南北中甲乙丙丁]单元)"
_ROOM = r"[\d一二三四五六七八九十]{1,3}\s?(?:层|楼)\s?(?:\d{2,4}\s?(?:室|房|户|号)?|[东西南北中]户)|[A-Za-z]?\d{3,4}\s?(?:室|房间|户|号房|房(?!主))|\d{1,2}[A-Za-z]\d{2}(?![0-9])|[零〇一二三四五六七八九]{3,4}(?:室|房间?|户)?|\d{3,4}(?!\s?[0-9年月日元块万户人平米度次个天路%.-])"
_DOOR = re.compile(
    rf"(?<![0-9A-Za-z])(?:{_BUILDING}[ ,，-]?(?:{_UNIT}[ ,，-]?(?:{_ROOM})?|\d{{1,2}}(?:门|-)[ ,，-]?(?:{_ROOM})|(?:{_ROOM}))|{_UNIT}[ ,，-]?(?:{_ROOM}))"
)
_DOOR_DASHED = re.compile(
    r"(?<=[区园苑府城庭湾郡里居邸墅寓庄村楼院期住])\s?[A-Za-z]?\d{1,3}(?:号楼|栋|幢|#)?-\d{1,2}-\d{3,4}(?!\d)"
    r"|(?<![\d-])\d{1,2}-\d{1,2}-\d{3,4}(?=\s?(?:业主|住户|室|户))"
    r"|(?<=[区园苑府城庭湾郡里居邸墅寓庄村院期])\s?\d{1,3}(?:号楼|栋|幢)-\d{3,4}(?!\d)"
)
_ROOM_ALONE = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]?\d{3,4}室(?![内外])")

_NUMBER = r"(?:\d{1,2}|[一二三四五六七八九十]{1,3})"
#: a class of some forty children; a whole year (六年级) stays
_CLASS = re.compile(
    rf"(?<![\d一二三四五六七八九十第])(?:{_NUMBER}\s?年级?\s?\(?{_NUMBER}\)?|[初高][一二三123]\s?\(?{_NUMBER}\)?|{_NUMBER}\s?(?:\({_NUMBER}\)|\.\d{{1,2}}))\s?班(?![车次倒岗组制])"
    r"|(?<=幼儿园)[大中小][一二三四五六\d]班"
)

_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文"
    "庞樊兰殷施陶洪翟安颜倪严牛温芦季俞章鲁葛伍韦申尤毕聂丛焦向柳邢路岳齐沿梅莫庄辛祝左涂谷祁时舒耿牟卜詹关苗凌费纪靳盛童欧甄项曲成游阳裴席卫查屈鲍位覃霍翁隋植甘景薄单包司柏宁柯阮桂闵解强柴华车冉房边辜吉饶刁瞿戚丘古米池滕晋苑邬臧畅宫嵺苟褚廉简娄盖符奚木穆党燕郎邸冀谈姬屠连郜晏栾郁商蒙计喻揭窦迟宇敖糜鄢冷卓花仇艾蓝巩稽井练仲乐虞卞封竺冼原官衣楚佟栗匡宗应台巫鞠僧桑荆谌银扬沙伏岑习胥蔺"
)
_COMPOUND = "欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|令狐|宇文|长孙|司徒|夏侯"
_NAME = rf"(?:{_COMPOUND}|[{_SURNAMES}])[一-鿿]{{1,2}}"
#: what may stand after a name that follows a role word without a colon
_AFTER = r"(?=\[(?:手机号|固定电话|身份证号|微信号|门牌)\]|电话|手机|[\s，,。.；;、！!？?：:（(）)】\]\"'”’]|$|说|称|表示|反映|来电|投诉|举报|于\d|在\d|系|同志|先生|女士|小姐|老师|的(?:电话|手机|身份证|住址))"
_ROLES = (
    "业主|居民|村民|市民|患者|病人|学生|同学|孩子|儿子|女儿|丈夫|妻子|老公|老婆|父亲|母亲|老人|家长|员工|职工|司机|店主|房东|租客|老板|投诉人|举报人|反映人|来电人|诉求人|申请人|当事人|联系人|被害人|受害人|死者|伤者|负责人|户主|经理|会计|医生|护士|老师|校长|园长|书记|村长|主任|局长|所长|队长|科长|法人|中介|顾客|乘客|民警|保安"
    "|宝宝|宝贝|小朋友|孙子|孙女|外孙|外甥女|外甥|侄子|侄女|爷爷|奶奶|我爸|我妈|班主任|辅导员|包工头|店长|法定代表人|法人代表|车主|快递员|外卖员|姐姐|哥哥|弟弟|妹妹"
)
#: surnames of every second person, which seldom begin a word
_COMMON = "王李张刘陈杨赵周吴徐孙胡朱郭罗郑谢韩唐冯曹许邓彭吕苏卢蒋蔡魏薛"
#: what a person does or suffers after the role and a name of three characters
_DOES = r"(?=在|被|从|受|要求|拒|把|将|打疫苗|发烧|过敏|摔|失联|跑路|态度|扣|堆|不退|上不|家的|联名|推|吃|不(?:作为|管|理|给|让|同意|承认)|挪|停|打|骂|[、和与及]|今年|现年|男|女|住)"
_STRONG = re.compile(
    rf"((?:姓名|签名|签字|联系人|投诉人|举报人|反映人|来电人|诉求人|申请人|当事人|被害人|受害人|死者|伤者|法人代表|法定代表人|负责人|经办人|户主|收件人|收款人|署名)\s?[:为是]\s?|(?:名叫|名字叫|名字是|本人叫|本人姓名))({_NAME})(?![一-鿿]{{0,1}}(?:公司|学校|幼儿园|医院|小区|村|镇|街道|局|委))"
)
#: a role word that runs on into a name only where the text ends, pauses or goes on with what a person does
_CALLED = re.compile(
    rf"((?:我叫|(?:孩子|儿子|女儿|宝宝|孙子|孙女|学生|小朋友|家长)叫|(?<![一-鿿])(?:我是|本人)|此致\s?敬礼[!！。\s]*|(?:签名|署名|落款)\s)({_NAME}))(?=[\s，,。；;!！（(]|$|今年|现年|住|家住|在|上|被)"
)
_PET_NAME = re.compile(r"((?:小名|乳名)(?:叫|是)?)(([一-鿿])\3)")
_WEAK = re.compile(rf"((?:{_ROLES})\s?)({_NAME}){_AFTER}")
#: surnames that are words of grammar too; without a colon before them they are mostly that
_NO_WORD = "(?![向于曾和都常应时连原全万花单方成平安任易经何从])"
_DOING = re.compile(
    rf"((?:{_ROLES}|学生是|邻居)\s?)({_NO_WORD}(?:(?:{_COMPOUND})[一-鿿]{{1,2}}|[{_SURNAMES}][一-鿿]{{2}}|[{_COMMON}][一-鿿])){_DOES}"
)
#: characters of which most given names are made; two of them behind a surname need no help from what follows
_GIVEN = "伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超霞刚桂兰辉玲华建国红梅志梓涵轩诗雨欣怡子浩宇一诺佳俊熙萱晨博海燕晓春飞鹏峰斌波健荣琴云洁琳婷雪慧莹倩颖瑶晴萍莉凤珍淑玉翠琼素美香莲珠祥德仁义忠庆胜彪坤栋梁柱松亮旭昊睿哲翔思然若语嘉悦琪彤桐恬妍馨蕊紫菲菡逸泽煜铭皓瑞锦维立新民勇文龙永"
_NO_PLACE = "(?![路街巷村镇桥山区苑园城校学店府庭湾]|[一-鿿]{0,2}(?:小区|公司|医院|学校|超市|广场|诊所|集团))"
_GIVEN_NAME = rf"(?:(?:{_COMPOUND})|{_NO_WORD}[{_SURNAMES}])[{_GIVEN}]{{2}}"
_ROLED = re.compile(rf"((?:{_ROLES}|邻居|工人|联系|户名|(?<=\[班级\])的?)\s?)({_GIVEN_NAME}){_NO_PLACE}")
_OF_KIN = re.compile(
    rf"((?<![一-鿿]))({_NO_WORD}(?![边关])(?:{_COMPOUND}|[{_SURNAMES}])[^\W\da-zA-Z的对我你他她们和与爱捐]{{1,2}})(?=的?(?:妻子|丈夫|母亲|父亲|妈妈|爸爸|奶奶|爷爷|儿子|女儿|家长)|同学)"
)
#: 业主李建国、王芳、赵强联名: what is listed after a name is a name
_LISTED = re.compile(
    rf"((?<=\[姓名\])[、和与及]\s?)({_NO_WORD}{_NAME})(?=[\s、，,。；;和与及等联共]|$|去|说|反映|都)"
)
_TITLED = re.compile(
    rf"(?:(?<![一-鿿])|(?<=[到由是给和与跟向把让人主民]))((?:{_COMPOUND}|[{_SURNAMES}]))([一-鿿]{{1,2}})(?=先生|女士|小姐)"
)
#: words that begin with a surname character and follow role words all the time
_NOT_NAMES_TEXT = (
    "高考 高中 高一 高二 高三 高新 高度 高级 高层 高兴 高峰 方面 方式 方便 方案 安全 安排 安置 安心 平时 时间 时候 时常 成都 成绩 成为 成年 成员 成立 单位 单元 单独 单亲 全部 全家 全体 全都 "
    "全程 周一 周二 周三 周四 周五 周六 周日 周末 周边 周围 周知 钱款 金额 金钱 江苏 江西 陈述 都是 都有 都在 都要 都会 都不 都没 都说 都能 来访 来信 来说 来电 来了 来到 和平 和谐 和孩子 和家长 和老师 和物业 和学生 和业主 "
    "应该 应当 应有 明明 明确 明白 解决 解释 解答 强烈 强制 强行 强迫 关注 关心 关于 关系 连续 连夜 计划 保证 保障 保护 保安 包括 包车 查询 查看 查处 向上 向我 向您 向物 官员 原因 原来 原本 商量 商户 商家 何时 何在 "
    "何去 何从 任何 任务 任教 任职 管理 管控 管辖 从来 从业 居民 左右 万分 万元 常年 常常 常住 常见 易发 许多 许可 温馨 温暖 白天 白白 田地 石材 马上 马路 路过 路口 路人 路段 毕业 严重 严禁 严格 华人 车辆 车位 车主 车库 "
    "房产 房屋 房子 房东 房租 边上 盖章 盖房 古城 米左 花钱 花费 乐意 司机 司法 项目 汤药 党员 文化 文明 文件 武汉 江边 阳光 阳台 阳性 卫生 卫健 程序 余元 余人 余名 余户 夏天 夏季 冷漠 章程 时段 鲁能 齐全 齐心 盛夏 景区 "
    "尤其 季度 宁愿 宁可 习惯 银行 台账 封闭 伏天 封路 沙石 木材 全年 全额 全新 全校 全是 全国 全市 林地 森林 方才 黄金 黄色 白色 蓝色 童年 梅雨 叶子 水管 关闭 解除 强拆 游客 连带 计算 郁闷 商业 应聘 宗教 原告 简单 简直 "
    "符合 谈话 谈判 练习 仲裁 封锁 宫颈 边界 边缘 苗木 岳父 岳母 温度 申请 申诉 申报 项链 甘愿 包庇 包围 解放 强调 单方 左边 单价 别人 席位 池塘 广大 古树 吉利 饶恕 滕州 晋升 燕子 蒙骗 花园 艾滋 卓越 井盖 乐园 扬尘 明知 "
    "关门 解散 明显 都叫 都被 都快 都得 和我 和他 和家 和领 和政 和村 和居 和社 应酬 管道 管家 向政 向领 查到 查出 来校 来这 来做 来源 原先 游泳 计生 计入 连同 官方 和其 和一 和业 和物 和学 和老 冷静 全职 全权 常务 谷物 "
    "万一 江水 江南 江北 于是 于今 任由 任意 文凭 柳州 常德 高温 高空 高速 高价 高铁 高校 高压 施工 施教 曾经 曾多 曾向 曾在 严肃 严谨 安装 安静 安保 段时 段路 金融 钟头 石头 石化 牛奶 温泉 辛苦 辛勤 舒服 舒适 童装 童工 "
    "方向 方言 方可 房内 房间 车间 车费 车内 车上 车子 车站 强调 安徽 安家 康复 康养 余款 余年 成功 成本 成交 成人 谢谢 谢绝 武术 钱财 钱都 单子 边走 成长 于老 方法 齐上 花名 文具 谈谈 保安全 安全生 向本 方及 曾表 王等 向记 向媒 向市 向区 向县 严查 谈一 商谈 张口 张嘴 张罗 张贴 张开 张望 张扬 王牌 李子 刘海 陈旧 陈列 杨树 许诺 罗列 唐突 周转 周期 周密 苏醒 胡乱 胡说 胡闹 胡同 陆续 凌晨 曾被 曾从 曾受 曾要 曾把 曾将 周日 房密 方提 方未 方称 方说 全生 万名 包工 成群结 经济 经常 时代 安宁 成群 管教"
)
_NOT_NAMES = frozenset(_NOT_NAMES_TEXT.split())

#: what follows a surname character inside longer words
_NO_GIVEN = re.compile(
    r"表示|及被|部门|名册|生产|医生|老师|文具|单独|上阵|先生|女士|师傅|阿姨|同学|大[爷妈娘姐哥婶叔]|老[汉太]|[城苑府区村镇局]$"
)

#: numbers that belong to the public; kept as they are
_PUBLIC_TEXT = (
    "110 119 120 122 999 114 12110 12119 12122 12301 12305 12306 12308 12309 12310 12313 12315 12316 12317 12318 12319 12320 12321 12323 12325 12326 12328 12329 12330 12331 12333 12336 12337 12338 12339 "
    "12345 12348 12350 12351 12353 12355 12356 12358 12360 12363 12365 12366 12367 12368 12369 12371 12377 12378 12379 12380 12381 12385 12386 12388 12389 12390 12393 12395 12396 12398"
)
PUBLIC_NUMBERS = frozenset(_PUBLIC_TEXT.split())

#: keys of a raw row that hold a person; their values are never kept, not even set aside
PERSONAL_KEYS = re.compile(
    r"姓名|联系人|来电人|投诉人|诉求人|反映人|申请人|电话|手机|联系方式|号码$|身份证|证件|邮箱|微信|(?:^|[^A-Za-z])qq|昵称|用户名|住址|地址$|家庭|出生|年龄|性别|"
    r"author|nick|user|phone|mobile|(?:^|_)tel|email|(?:^|_)ip(?:$|_)|avatar|(?:^|_)name$|id_?card|creator|byline",
    re.IGNORECASE,
)
_NOBODY = frozenset(
    {
        "",
        "匿名",
        "匿名用户",
        "匿名网友",
        "网友",
        "游客",
        "佚名",
        "无",
        "未知",
        "anonymous",
        "unknown",
        "none",
        "null",
        "n/a",
        "guest",
    }
)


@dataclass(frozen=True)
class Redacted:
    """The text without personal data, and how many pieces of each kind were taken out."""

    text: str
    counts: dict[str, int] = field(default_factory=dict)


def redact(text: str) -> Redacted:
    """Replace identity numbers, telephones, cards, mails, plates, chat ids, doors and names by words in brackets.

    Never fails; an empty text stays empty. About 0.3 ms of CPU for a message of 340 characters.
    """
    if not text:
        return Redacted("", {})
    return redact_all(text)[0]


def redact_all(*texts: str) -> tuple[Redacted, ...]:
    """Title and text of one post: a name or account that one of them gives away is taken out of both, wherever it stands."""
    return tuple(Redacted(pass_.text, dict(pass_.counts)) for pass_ in _passes(*texts))


def _passes(*texts: str) -> list[_Pass]:
    passes = [_Pass(text) for text in texts]
    for pass_ in passes:
        for kind, word, pattern, group, accept in _RULES:
            pass_.replace(kind, word, pattern, group, accept)
    known = sorted({name for pass_ in passes for name in pass_.known}, key=len, reverse=True)
    for name in known:
        # a short name is a word of others: only where it stands alone, as a signature does
        edges = ("(?<![一-鿿A-Za-z0-9])", "(?![一-鿿A-Za-z0-9])") if len(name) < 3 else ("", "")
        again = re.compile(f"{edges[0]}{re.escape(name)}{edges[1]}")
        for pass_ in passes:
            pass_.replace("name", "[姓名]", again, 0, None)
    return passes


def find_personal(text: str) -> tuple[tuple[int, int, str], ...]:
    """(start, end, kind) of every piece of `text` that `redact` takes out, in order. For measuring, not for storing."""
    return _passes(text)[0].found()


def redact_value(value: Any) -> Any:
    """A copy of a JSON value, fit to be set aside: strings redacted, values of personal keys dropped."""
    if isinstance(value, str):
        return redact(value).text
    if isinstance(value, Mapping):
        return {
            str(key)[:80]: "[已删除]"
            if PERSONAL_KEYS.search(str(key)) and item not in (None, "")
            else redact_value(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such number, and PostgreSQL refuses the whole batch
    if isinstance(value, bool | int | float) or value is None:
        # eleven digits in a number column are a telephone, not a count
        return redact(str(value)).text if isinstance(value, int | float) and abs(value) >= 10**9 else value
    return redact(str(value)).text


def pseudonym(key: bytes, source_id: str, author: str | None) -> str | None:
    """HMAC-SHA256 of an author within one source, 32 hex digits; None for nobody ("匿名", "网友", empty).

    The source is part of the message, so that one person's accounts at two places cannot be joined.
    """
    name = unicodedata.normalize("NFKC", author or "").strip().casefold()
    if name in _NOBODY:
        return None
    return hmac.new(key, f"{source_id}\0{name}".encode(), hashlib.sha256).hexdigest()[:32]


def without_author(text: str, author: str | None) -> str:
    """`text` without the name under which its author writes, which signatures and reposts repeat; offices and media keep theirs."""
    name = (author or "").strip().lstrip("@")
    if len(name) < 2 or name.lower() in _NOBODY or _OFFICIAL.search(name):
        return text
    if len(name) == 2 and not re.fullmatch(_NAME, name):
        return text  # 小雨, 路人: a word like others
    return re.sub(re.escape(name), "[网名]", text, flags=re.IGNORECASE)


class _Pass:
    """One text under redaction: `text` and a same-length `flat` copy with plain digits, on which patterns run."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.flat = text.translate(_WIDE)
        self.counts: Counter[str] = Counter()
        #: names and accounts that the text itself gives away as somebody's
        self.known: set[str] = set()
        #: (start, end, length of the word, kind) of what was taken out, by place in the text as it came, in order
        self._taken: list[tuple[int, int, int, str]] = []

    def found(self) -> tuple[tuple[int, int, str], ...]:
        """What was taken out, by place in the text as it came."""
        return tuple((start, end, kind) for start, end, _, kind in self._taken)

    def _origin(self, at: int) -> int:
        """The place in the text as it came of the place `at` of the text as it is now."""
        for start, end, length, _ in self._taken:
            if at < start + length:
                return min(at, end)
            at += end - start - length
        return at

    def replace(
        self,
        kind: str,
        word: str,
        pattern: re.Pattern[str],
        group: int,
        accept: Callable[[re.Match[str]], bool] | None,
    ) -> None:
        hits = [m for m in pattern.finditer(self.flat) if accept is None or accept(m)]
        if not hits:
            return
        links = [m.span() for m in _URL.finditer(self.flat)] if kind != "email" else []
        text, flat, at, taken = [], [], 0, []
        for hit in hits:
            start, end = hit.span(group)
            if any(a <= start < b for a, b in links):
                continue  # digits of an address on the web are not a telephone
            taken.append((self._origin(start), self._origin(end), len(word), kind))
            text += [self.text[at:start], word]
            flat += [self.flat[at:start], word]
            at = end
            self.counts[kind] += 1
            if pattern in _TELLING:
                self.known.add(hit.group(group))
        self.text = "".join([*text, self.text[at:]])
        self.flat = "".join([*flat, self.flat[at:]])
        # a later hit may swallow the word of an earlier one; then it alone stands for both
        older = [one for one in self._taken if not any(a <= one[0] and one[1] <= b for a, b, _, _ in taken)]
        self._taken = sorted([*older, *taken])


#: what numbers an order, a case or a work order; a number behind it belongs to no person
_ORDER_CUE = re.compile(r"(?:工单|订单|单号|编号|流水|受理|案号|批号|回执|发票)[^，。；,;]{0,6}$")
_CARD_CUE = re.compile(r"(?:卡|存折|账户|帐户|账号|帐号|[转打汇退]到)[^，。；,;]{0,8}$")
_PHONE_CUE = re.compile(
    r"(?:电话|手机|号码|微信|联系|座机|致电|回电|来电|拨|打|加我|[号用]|我)[^，。；,;0-9]{0,5}$"
)
_MONEY = re.compile(r"(?:\.\d+)?[元万亿]")
#: the telephone of an office is meant to be known
_OFFICE_CUE = re.compile(
    r"(?:局|委|办|处|政府|街道|中心|大队|支队|派出所|法院|检察院|医院|集团|公司|银行|居委会|村委会|供[热水电气])[^，。；！？!?\s]{0,4}?(?:监督|举报|投诉|咨询|服务|值班|报修|办公|客服|便民|联系|公开|预约|急诊)?(?:电话|热线|号码)[号为是: (]{0,3}$|热线[为是: (]{0,3}$"
)
_SOMEBODY = re.compile(r"[我俺]|本人|业主|联系人|投诉人|来电人|反映人")
#: first two digits of an identity number: provinces, and the permits of Hong Kong, Macao and Taiwan
_PROVINCE_TEXT = (
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83"
)
_PROVINCES = frozenset(_PROVINCE_TEXT.split())
_PHONE_GROUPS = frozenset(
    {(11,), (3, 4, 4), (4, 3, 4), (3, 8), (7, 4), (3, 3, 5), (5, 6), (3, 2, 2, 2, 2), (3, 4, 2, 2)}
)
_BORN = re.compile(r"(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")


def _before(match: re.Match[str], length: int) -> str:
    return match.string[max(0, match.start() - length) : match.start()]


def _digits(raw: str) -> str:
    return re.sub(r"\D", "", raw.translate(_TO_DIGIT))


def _groups(raw: str) -> tuple[int, ...]:
    return tuple(len(group) for group in re.findall(r"\d+", raw.translate(_TO_DIGIT)))


def _is_identity(match: re.Match[str]) -> bool:
    raw = match.group()
    digits = _digits(raw[:-1])
    return (
        digits[:2] in _PROVINCES
        and _BORN.match(digits[6:14]) is not None
        and not _ORDER_CUE.search(_before(match, 12))
    )


def _is_riddled_mobile(match: re.Match[str]) -> bool:
    raw = match.group()
    digits = _digits(raw)
    if len(digits) > 11 and digits.startswith("86"):
        digits = digits[2:]
    if not re.fullmatch(r"1[3-9]\d{9}", digits):
        return False
    after = match.string[match.end() : match.end() + 2]
    plain, han = len(re.findall(r"[0-9]", raw)), sum(char in _HAN for char in raw)
    if plain + han < (8 if re.search(r"[oOlI]", raw) else 4) or re.match(r"[十百千万亿元]", after):
        return False
    if han or plain < 11:  # nobody writes eleven numerals in a row for anything else
        return True
    if re.match(r"\d|[ .·/-]\d", after):
        return False  # a listing that goes on
    groups = _groups(raw.removeprefix("+"))
    return (
        groups in _PHONE_GROUPS
        or groups == (1,) * 11
        or (len(groups) < 9 and _PHONE_CUE.search(_before(match, 10)) is not None)
    )


def _is_landline(match: re.Match[str]) -> bool:
    return not (_OFFICE_CUE.search(_before(match, 24)) and not _SOMEBODY.search(_before(match, 24)))


def _is_riddled_landline(match: re.Match[str]) -> bool:
    raw = match.group()
    groups = _groups(raw)
    return (
        re.fullmatch(r"0(?:10|2\d|[3-9]\d{2})[2-8]\d{6,7}", _digits(raw)) is not None
        and (groups[0] in (3, 4) or len(groups) == 1 or groups == (1,) * len(groups))
        and _is_landline(match)
    )


def _is_plate(match: re.Match[str]) -> bool:
    tail = re.sub(_GAP, "", match.group()[1:])[1:]
    letters = len(re.findall(r"[A-Za-z]", tail))
    long = len(tail.rstrip("挂学警港澳使领试超")) > 4 or tail[-1] in "挂学警港澳使领试超"
    # 新P50Pro is no plate: at most two of five characters are letters
    return long and letters <= len(tail) - 3 and bool(re.search(_D, tail))


def _is_card(match: re.Match[str]) -> bool:
    digits = _digits(match.group())
    if digits[0] in "012" or _ORDER_CUE.search(_before(match, 12)):
        return False
    cue = _CARD_CUE.search(_before(match, 12)) is not None
    groups = _groups(match.group())
    if len(groups) > 1 and not cue and groups != (1,) * len(digits) and set(groups[:-1]) != {4}:
        return False  # a row of figures
    # 62 is the network of all banks of the country, with 16 or 19 digits; a wrong digit does not make it harmless
    return _luhn(digits) or (digits.startswith("62") and len(digits) in (16, 19)) or cue


def _luhn(digits: str) -> bool:
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _is_private_phone(match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match.group(1))
    return (
        digits[0] in "2345678"
        and _is_landline(match)
        and digits not in PUBLIC_NUMBERS
        and not digits.startswith(("400", "800", "95", "96"))
        and not re.fullmatch(r"(?:19|20)\d{2}[01]\d[0-3]\d", digits)
    )


def _is_name(match: re.Match[str]) -> bool:
    name = match.group(2)
    return (
        name[:2] not in _NOT_NAMES
        and not _NO_GIVEN.search(name)
        and name not in _NOT_NAMES
        and name[1] not in "某的了是在有没不都也很被把给和与或于先女总"
    )


def _is_given(match: re.Match[str]) -> bool:
    return (
        (match.group(1) + match.group(2))[:2] not in _NOT_NAMES
        and match.group(2)[0] not in "某姓家"
        and match.group(2) not in ("老", "大", "小")
    )


#: who is found by these is known for the rest of the text
_TELLING = frozenset({_STRONG, _CALLED, _WECHAT, _BYLINE, _MENTION})
#: order matters: long numbers before their parts
_RULES: tuple[tuple[str, str, re.Pattern[str], int, Callable[[re.Match[str]], bool] | None], ...] = (
    ("email", "[邮箱]", _EMAIL, 0, None),
    ("id_card", "[身份证号]", _ID18, 0, _is_identity),
    ("id_card", "[身份证号]", _ID_NAMED, 2, None),
    ("bank_card", "[银行卡号]", _CARD_NAMED, 1, None),
    ("bank_card", "[银行卡号]", _CARD, 0, _is_card),
    ("id_card", "[身份证号]", _ID15, 0, None),
    ("wechat", "[微信号]", _WECHAT, 2, None),
    ("qq", "[QQ号]", _QQ, 2, None),
    (
        "mobile",
        "[手机号]",
        _MOBILE,
        0,
        lambda match: not _MONEY.match(match.string, match.end()),
    ),
    ("mobile", "[手机号]", _MOBILE_RIDDLE, 0, _is_riddled_mobile),
    ("landline", "[固定电话]", _LANDLINE, 0, _is_landline),
    ("landline", "[固定电话]", _LANDLINE_RIDDLE, 0, _is_riddled_landline),
    ("landline", "[固定电话]", _PHONE_NAMED, 1, _is_private_phone),
    ("plate", "[车牌]", _PLATE, 0, _is_plate),
    ("door", "[门牌]", _DOOR, 0, None),
    ("door", "[门牌]", _DOOR_DASHED, 0, None),
    ("door", "[门牌]", _ROOM_ALONE, 0, None),
    ("class", "[班级]", _CLASS, 0, None),
    ("byline", "[网名]", _BYLINE, 2, lambda match: not _OFFICIAL.search(match.group(2))),
    ("mention", "[网名]", _MENTION, 1, lambda match: not _OFFICIAL.search(match.group(1))),
    ("name", "[姓名]", _STRONG, 2, _is_name),
    ("name", "[姓名]", _CALLED, 2, _is_name),
    ("name", "[姓名]", _PET_NAME, 2, None),
    ("name", "[姓名]", _WEAK, 2, _is_name),
    ("name", "[姓名]", _DOING, 2, _is_name),
    ("name", "[姓名]", _ROLED, 2, _is_name),
    ("name", "[姓名]", _OF_KIN, 2, _is_name),
    ("name", "某", _TITLED, 2, _is_given),
    # four times: each time the next of a list
    *[("name", "[姓名]", _LISTED, 2, _is_name)] * 4,
)
