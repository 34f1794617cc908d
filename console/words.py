"""What codes are called on a page. Keys are the codes of the database, values are Chinese msgids of the catalogue."""

from __future__ import annotations

STATES = {
    "watching": "关注",
    "detected": "待研判",
    "confirmed": "属实待交办",
    "assigned": "已交办待签收",
    "acknowledged": "部门办理中",
    "responded": "已回应待评估",
    "evaluated": "已评估待办结",
    "closed": "办结",
    "false_alarm": "误报",
    "merged": "已并入",
}
#: The path of an incident, as the stepper of its page shows it.
STEPS = (
    ("detected", "发现"),
    ("confirmed", "属实"),
    ("assigned", "交办"),
    ("acknowledged", "签收"),
    ("responded", "回应"),
    ("evaluated", "评估"),
    ("closed", "办结"),
)
#: links of the chain from the first post to the closing, each named by the instant that ends it
LINKS = {
    "posted": "首帖",
    "detected": "发现",
    "alerted": "提醒",
    "page_acknowledged": "确认收到",
    "confirmed": "属实",
    "assigned": "交办",
    "signed": "签收",
    "responded": "回应",
    "evaluated": "评估",
    "closed": "办结",
}
LEVELS = {"general": "一般", "serious": "较大", "major": "重大", "critical": "特别重大"}
TRACKS = {"fast": "快速通道", "burst": "突增通道", "manual": "人工上报"}
TONES = {"neg": "负面", "neu": "中性", "pos": "正面", "": "未研判"}
RISKS = {0: "无风险", 1: "低风险", 2: "中风险", 3: "高风险"}
FALSE_ALARMS = {
    "wrong_place": "不在本市",
    "not_now": "旧事重提，并非现在发生",
    "fiction_or_history": "小说、影视或历史内容",
    "advertisement": "广告或营销",
    "duplicate_topic": "与其他事件重复",
    "no_issue": "不构成问题",
    "other": "其他（请在备注写明）",
}
ABOUTS = {"department": "部门", "school": "学校", "company": "企业", "other": "其他对象", "": "未写明"}
SIGNALS = {"yes": "反映真实问题", "no": "不反映真实问题"}
#: what of a judgement a person can correct
LABELS = {"tone": "情绪", "domain": "领域", "signal": "真实问题", "risk": "风险", "about": "投诉对象"}
PROPOSALS = {"merge": "可能是同一件事", "split": "可能是两件事"}
ROLES = {
    "duty": "值班员",
    "analyst": "分析员",
    "department": "部门承办人",
    "supervisor": "督办员",
    "leader": "带班领导",
    "administrator": "管理员",
    "auditor": "审计员",
}
EVENTS = {
    "detected": "系统发现",
    "page_acknowledged": "值班员确认收到",
    "confirmed": "研判属实",
    "false_alarm": "判为误报",
    "merged": "并入其他事件",
    "unmerged": "取消并入",
    "split": "拆分出新事件",
    "post_removed": "移出不属于本事件的帖子",
    "corrected": "更正研判",
    "proposal_accepted": "采纳系统建议",
    "proposal_refused": "不采纳系统建议",
    "assigned": "交办部门",
    "complained_named": "认定投诉对象",
    "signed": "部门签收",
    "returned": "部门退回",
    "informed": "发布权威信息",
    "press_held": "举行新闻发布会",
    "clock_extended": "批准延期",
    "asked_again": "确认后无进展，重新提醒",
    "responded": "作出回应",
    "evaluated": "效果评估",
    "closed": "办结",
    "reopened": "重新开启",
    "restored": "撤销误报",
    "level_set": "调整等级",
    "note": "备注",
    "restricted": "限定知悉",
    "unrestricted": "解除限定知悉",
    "page_sent": "提醒已送达渠道",
    "page_refused": "提醒被渠道拒收",
    "rung_fired": "逐级提醒值班人员",
    "ladder_started": "提醒次序确定",
    "ladder_stopped": "不再逐级提醒",
    "ladder_ended": "各级均已提醒，无人确认",
    "outer_passed": "发现后过久无人研判",
    "roster_changed": "值班变更",
    "handover_offered": "交接班开始",
    "handover_given": "交班",
    "handover_taken": "接班",
    "calendar_feed_made": "生成日历订阅地址",
    "calendar_feed_revoked": "作废日历订阅地址",
    "channels_tested": "测试值班提醒渠道",
    "system_alarm": "系统自身故障或恢复",
    "accountability_proposed": "系统建议督办或问责措施",
    "accountability_decided": "对措施作出决定",
    "accountability_withdrawn": "措施建议撤回",
    "deadline_opened": "时限起算",
    "deadline_met": "时限内完成",
    "deadline_missed": "时限已过，未完成",
    "deadline_answered_late": "超时后完成",
    "deadline_cancelled": "时限取消",
    "deadline_moved": "时限重算",
    "deadline_noticed": "时限已过",
    "caller_told": "告知来电人进度与解决时限",
    "obligation_opened": "公开义务开始计时",
    "obligation_met": "公开义务办结",
    "obligation_missed": "公开义务逾期",
    "obligation_moved": "公开义务时限重算",
    "obligation_cancelled": "公开义务撤销",
    "no_one_on_duty": "无人值班",
    "viewed": "查看内容",
    "refused": "操作被拒",
    "posts_searched": "检索帖子",
    "exported": "导出",
    "evidence_kept": "原始网页存证",
    "evidence_purged": "原始网页按期销毁",
    "evidence_read": "调阅原始网页",
    "evidence_orphan": "无主存证文件移出",
    "rebuilt": "按记录重建派生表",
    "logged_in": "登录",
    "login_failed": "登录失败",
    "logged_out": "退出",
    "password_changed": "修改密码",
    "token_made": "新建接口令牌",
    "token_revoked": "吊销接口令牌",
    "sql_asked": "SQL 查询",
    "account_created": "建立账号",
    "password_reset": "重置密码",
    "audit_read": "查阅审计记录",
    "heartbeat": "平安报告",
    "backtest_asked": "提出回测",
    "model_installed": "启用新训练的研判模型",
    "model_rolled_back": "退回上一个研判模型",
}
CHANNELS = {
    "system": "系统",
    "console": "控制台",
    "slack": "Slack",
    "link": "签名链接",
    "cli": "命令行",
    "api": "接口",
    "email": "邮件",
    "folder": "本地文件夹",
    "webhook": "自有接口",
    "wecom": "企业微信群机器人",
    "wecom_app": "企业微信应用",
    "dingtalk": "钉钉群机器人",
    "feishu": "飞书群机器人",
    "feishu_app": "飞书应用",
}
MESSAGE_KINDS = {
    "page": "事件提醒",
    "update": "进展通知",
    "copy": "抄送",
    "assignment": "交办通知",
    "co_assignment": "协办通知",
    "release": "不再承办或协办通知",
    "thread": "后续进展",
    "edit": "更新原消息",
    "remind": "时限过半提醒",
    "yellow": "黄牌提醒",
    "outer": "无人研判提醒",
    "handover": "交接班",
    "canary": "渠道自检",
    "proposal": "措施建议",
    "bundle": "汇总消息",
    "red": "红牌提醒",
    "reminder": "时限提醒",
    "report": "周报",
    "heartbeat": "平安报告",
    "obligation": "公开义务提醒",
    "system_alarm": "系统自身故障或恢复",
    "test": "测试消息",
}
MESSAGE_STATES = {
    "pending": "待发送",
    "sending": "发送中",
    "sent": "已送达渠道",
    "refused": "被拒收",
    "superseded": "已撤回",
    "bundled": "已并入汇总，待发送",
}
CLOCK_STATES = {"open": "计时中", "met": "按时", "missed": "超时", "cancelled": "已取消"}
OBLIGATION_STATES = {
    "open": "待办",
    "overdue": "逾期",
    "met": "按时办结",
    "late": "逾期办结",
    "cancelled": "已撤销",
    "all": "全部",
}
SPAN_UNITS = {"calendar_hours": "小时", "workdays": "个工作日", "natural_days": "日"}
SOURCE_STATES = {
    "few": "明显偏少",
    "new": "未采集",
    "ok": "正常",
    "unchanged": "正常，无更新",
    "frozen": "久无新帖",
    "empty": "没有内容",
    "blocked": "被拒绝访问",
    "login": "要求登录",
    "robots": "robots 禁止",
    "error": "出错",
    "changed": "页面结构变化",
    "halted": "已停采",
    "objected": "有异议，不采集",
}
#: of what a person stopped collecting
STOP_SCOPES = {
    "all": "全部信源",
    "host": "主机",
    "source": "信源",
    "prefix": "网址前缀",
    "page": "单个页面",
    "author": "作者",
}
POST_FIELDS = {"title": "标题", "text": "正文", "published_at": "日期", "author": "作者"}
#: what a state means for the reader, and what to do
SOURCE_ADVICE = {
    "few": "仍有新帖，但远少于该信源自身规律。请打开网页核对：可能只读到列表的一部分，或栏目已拆分、迁移。",
    "frozen": "能访问，但沉默时间远超该信源自身规律。请打开网页核对：若有新帖而这里没有，说明订阅源已停更或页面被缓存。",
    "empty": "能访问，但列表里一条都没有。请打开网页核对：可能改版，或列表改由脚本填充。",
    "blocked": "站点拒绝机器访问。系统已停止访问并等待，不会绕过；请降低频率或与站点主管单位沟通。",
    "login": "原来公开的页面现在要求登录。系统只读公开页面；请与站点主管单位沟通，或改用其他信源。",
    "robots": "站点的 robots.txt 不允许访问，或暂时读不到。请与站点主管单位沟通，或停用该信源。",
    "changed": "内容与信源配置不再相符：可能改版、乱码或日期错误。请按依据修改 sources.yaml。",
    "error": "没有得到可用的回答。系统会自动重试；若持续出现，请按依据排查。",
}
#: what watches a domain in a district (incidents.coverage.MapCell.state)
COVERAGE = {
    "watched": "有专门信源",
    "general": "仅综合信源",
    "dark": "信源全部失效",
    "blind": "无信源覆盖",
}
BACKTESTS = {"waiting": "等待计算", "running": "正在计算", "done": "已算出", "failed": "没有算出"}
#: how a matter's alarm changes (analysis.backtest.OUTCOMES)
BACKTEST_OUTCOMES = {
    "lost": "不再预警",
    "gained": "新增预警",
    "later": "预警变晚",
    "earlier": "预警变早",
    "same": "没有变化",
}
#: what people said of it (analysis.backtest.WORDS)
BACKTEST_WORDS = {"real": "人已确认", "false_alarm": "判为误报", "open": "尚未研判", "unseen": "无人见过"}
#: limits of the fast track (config.settings.FAST_LIMITS)
FAST_LIMITS = {
    "min_signal": "属实概率下限",
    "min_grave": "严重概率下限：危险词在文中",
    "min_grave_head": "严重概率下限：危险词在标题或首句",
    "min_grave_wide": "严重概率下限：日常用词",
    "min_grave_stern": "严重概率下限：变质食品用词",
    "sure_signal": "属实概率下限：袭击、地震在首句",
    "sure_grave": "严重概率下限：袭击、地震在首句",
    "solid_signal": "属实概率下限：火灾、中毒、坍塌或死亡人数在首句",
    "solid_grave": "严重概率下限：火灾、中毒、坍塌或死亡人数在首句",
    "real_signal": "属实概率达到此值时改用下一项",
    "real_grave": "严重概率下限：确属实且危险词在首句",
    "review_grave": "交人复核的严重概率：有危险词",
    "review_grave_unheard": "交人复核的严重概率：无危险词",
}
#: what became of a hot title (incidents.hot_titles.OUTCOMES)
HOT_OUTCOMES = {
    "before": "上榜前已发现",
    "after": "上榜后发现",
    "unraised": "有帖未预警",
    "missed": "漏报",
    "open": "未匹配，待核对",
    "not_ours": "与本市无关",
    "aside": "非重点领域或外地",
}
UNITS = {
    "calendar_hours": "小时（连续计算，含节假日）",
    "workdays": "个工作日",
    "natural_days": "个自然日",
    "none": "不计时",
}
BASIS = {
    "notice": "本市文件原文",
    "law": "法律法规原文",
    "page": "公开报道转引",
    "memory": "待核对",
    "proposed": "系统建议，非法定",
}
#: keys of the detection's arithmetic (analysis/emerge.py)
WHY = {
    "track": "通道",
    "posts": "帖子数",
    "voices": "不同发帖者",
    "window_h": "观察窗口（小时）",
    "expected": "平常应有",
    "negative": "负面帖数",
    "sources": "来源数",
    "words": "触发词",
    "silenced": "被排除的词",
    "signal": "属实概率",
    "grave": "严重概率",
    "signal_share": "属实帖占比",
    "p": "偶然如此的概率",
    "limit": "界限",
    "false_alarms_per_week": "每周误报上限（次）",
    "posts_per_week": "本地每周同类帖数",
    "where": "地点判断",
    "domain": "领域",
    "watched": "重点领域",
    "split_from": "拆分自",
}
#: the jobs of the scheduler and other parts that give a sign of life
PARTS = {
    "job:crawl": "采集",
    "job:judge": "研判",
    "job:tick": "时限巡检",
    "job:send": "发送",
    "job:intake": "接收数据",
    "job:evidence": "留存原件",
    "job:heartbeat": "平安报告",
    "job:topics": "话题",
    "job:weekly": "周报",
    "job:copy": "去标识化副本",
    "job:purge": "到期清理",
    "analysis": "研判批次",
    "alerts.tick": "预警：时限巡检",
    "alerts.send": "预警：发送",
    "alerts.calendar": "预警：工作日历",
    "alerts.heartbeat": "预警：平安报告",
    "alerts.handover": "预警：交接班",
    "alerts.obligations": "预警：公开义务",
    "alerts.obligations.day": "预警：公开义务每日提醒",
    "job:watch": "系统自检",
    "watch.chain": "系统自检：事件记录",
    "watch.doors": "系统自检：渠道应答",
    "watch.ping": "系统自检：外部心跳",
    "watch.troubles": "系统自检：异常清单变化",
    "emergence": "突增判断",
    "hot_titles": "热榜对照",
    "revisits": "回看帖子",
    "evidence.spool": "原件暂存受阻",
    "evidence.keep": "原件留存受阻",
    "slack.socket": "Slack 连接",
    "installed": "首次启动",
    "demo": "演示",
}
#: how a topic moved since the week before
TRENDS = {"first": "首周", "new": "新话题", "growing": "升温", "steady": "平稳", "fading": "降温"}
DONE = {
    "backtest": "已提交，正在后台计算。",
    "hot_title": "已记录核对结果。",
    "ack": "已确认收到。",
    "confirm": "已研判属实。",
    "false_alarm": "已判为误报。",
    "assign": "已交办。",
    "sign": "已签收。",
    "return": "已退回。",
    "respond": "回应已登记。",
    "inform": "权威信息发布已登记。",
    "press": "新闻发布会已登记。",
    "evaluate": "评估已登记。",
    "close": "已办结。",
    "reopen": "已重新开启。",
    "restore": "已撤销误报。",
    "level": "等级已调整。",
    "merge": "已并入。",
    "unmerge": "已取消并入。",
    "split": "已拆分为新事件。",
    "correct": "更正已保存，系统会从中学习。",
    "outside": "已移出事件。",
    "accept": "已采纳建议。",
    "refuse": "已记为不采纳，以后不再提出。",
    "note": "备注已保存。",
    "restrict": "已限定知悉范围。",
    "unrestrict": "已解除限定知悉。",
    "decided": "决定已记录。",
    "complained": "投诉对象已认定，交办建议已重算。",
    "roster": "值班变更已登记。",
    "handover": "交接班已登记。",
    "feed_make": "日历订阅地址已生成，见“日历订阅”。",
    "feed_revoke": "日历订阅地址已作废。",
    "tested": "测试消息已发出，结果见“渠道测试”。",
    "extend": "延期已登记，截止时间已改。",
    "told": "告知已登记，承诺的日期开始计时。",
    "entered": "已登记，开始计时。",
    "met": "办结凭证已登记。",
    "taken_back": "已撤销该项。",
    "password": "密码已修改。",
    "halted": "已停止采集。",
    "objected": "异议已登记，已存内容已删除。",
    "lifted": "已恢复。",
}

GROUNDS = {
    "poor_handling": "处置不力",
    "improper_reply": "回应不妥当",
    "late_report": "报告不及时",
}
STEP_STATES = {"open": "待决定", "approved": "已批准", "declined": "未采纳", "withdrawn": "已撤回"}
DUTY_ROLES = {"primary": "主班", "secondary": "副班", "leader": "带班领导"}
ROSTER_CHANGES = {"override": "代班", "swap": "换班", "leave": "请假"}
ROSTER_STATES = {"asked": "待对方同意", "taken": "已生效", "declined": "未同意", "withdrawn": "已撤回"}
UNREADY = {
    "gap": "空档",
    "unreachable": "没有可用联系方式",
    "away": "请假",
    "double": "同一人兼主班和副班",
    "long": "连续值班过长",
    "holiday": "节假日无带班领导",
}
#: what each scope of a token lets a script read
SCOPES = {
    "read:incidents": "事件、全过程、时限、部门、规则",
    "read:posts": "检索和统计帖子",
    "read:sources": "信源及其状态",
    "read:reports": "周报数据",
    "sql": "SQL 查询（去标识化副本）",
}
#: examples on the SQL page (their queries stand in console.views.sql)
SQL_EXAMPLES = {
    "posts_by_day": "每天各领域的帖数（近 30 天）",
    "met_by_department": "各部门按时办结的比例",
    "hours_by_district": "从发现到首次回应的小时数，按区县",
    "first_sources": "哪些信源最先发现事件",
    "false_alarms": "误报按领域的比例",
}
#: tables of the de-identified copy
SQL_TABLES = {
    "about": "本副本的生成时间和范围",
    "post": "帖子及其研判；无正文、链接和作者",
    "post_district": "帖子提到的区县，一行一个",
    "incident": "事件现状；无标题",
    "incident_hour": "事件逐小时的帖数和发声人数",
    "clock": "事件的法定时限",
    "event": "事件全过程；无人员姓名和文字",
    "department": "承办部门",
    "source": "信源",
    "rule": "现行规则",
}
#: titles of what the API answers when something is wrong
PROBLEMS = {
    "bad-request": "请求无法理解",
    "not-signed-in": "需要登录或令牌",
    "forbidden": "没有这个权限",
    "not-found": "没有找到",
    "wrong-method": "操作方式不对",
    "conflict": "与现状冲突",
    "too-long": "内容太长",
    "wrong-media-type": "内容类型不对",
    "invalid": "内容不对",
    "too-many-requests": "请求太频繁",
    "failed": "系统出错了",
    "busy": "系统正忙",
}
BUCKETS = {"hour": "逐时", "day": "逐日", "week": "逐周", "month": "逐月"}
TABLES: dict[str, dict[str, str]] = {
    "bucket": BUCKETS,
    "state": STATES,
    "level": LEVELS,
    "chain_link": LINKS,
    "track": TRACKS,
    "tone": TONES,
    "risk": {str(key): word for key, word in RISKS.items()},
    "false_alarm": FALSE_ALARMS,
    "about": ABOUTS,
    "signal": SIGNALS,
    "label": LABELS,
    "proposal": PROPOSALS,
    "role": ROLES,
    "event": EVENTS,
    "channel": CHANNELS,
    "message_kind": MESSAGE_KINDS,
    "message_state": MESSAGE_STATES,
    "clock": CLOCK_STATES,
    "obligation": OBLIGATION_STATES,
    "span_unit": SPAN_UNITS,
    "source_state": SOURCE_STATES,
    "source_advice": SOURCE_ADVICE,
    "stop_scope": STOP_SCOPES,
    "post_field": POST_FIELDS,
    "coverage": COVERAGE,
    "hot_outcome": HOT_OUTCOMES,
    "backtest": BACKTESTS,
    "backtest_outcome": BACKTEST_OUTCOMES,
    "backtest_word": BACKTEST_WORDS,
    "fast_limit": FAST_LIMITS,
    "unit": UNITS,
    "basis": BASIS,
    "why": WHY,
    "part": PARTS,
    "done": DONE,
    "trend": TRENDS,
    "ground": GROUNDS,
    "duty_role": DUTY_ROLES,
    "roster_change": ROSTER_CHANGES,
    "roster_state": ROSTER_STATES,
    "unready": UNREADY,
    "step_state": STEP_STATES,
    "step": dict(STEPS),
    "scope": SCOPES,
    "problem": PROBLEMS,
    "sql_example": SQL_EXAMPLES,
    "sql_table": SQL_TABLES,
}


def word(table: str, code: object) -> str:
    """The msgid of a code; an unknown code stands for itself, so that a page never fails on a new one."""
    return TABLES[table].get(str(code), str(code))
