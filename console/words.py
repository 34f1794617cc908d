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
    "signed": "部门签收",
    "returned": "部门退回",
    "responded": "作出回应",
    "evaluated": "效果评估",
    "closed": "办结",
    "reopened": "重新开启",
    "restored": "撤销误报",
    "level_set": "调整等级",
    "note": "备注",
    "page_sent": "提醒已送达渠道",
    "page_refused": "提醒被渠道拒收",
    "rung_fired": "逐级提醒值班人员",
    "deadline_opened": "时限起算",
    "deadline_met": "时限内完成",
    "deadline_missed": "时限已过，未完成",
    "deadline_cancelled": "时限取消",
    "deadline_moved": "时限重算",
    "deadline_noticed": "时限已过",
    "no_one_on_duty": "无人值班",
    "viewed": "查看内容",
    "refused": "操作被拒",
    "posts_searched": "检索帖子",
    "exported": "导出",
    "logged_in": "登录",
    "login_failed": "登录失败",
    "logged_out": "退出",
    "password_changed": "修改密码",
    "account_created": "建立账号",
    "password_reset": "重置密码",
    "heartbeat": "平安报告",
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
    "webhook": "机器人",
}
MESSAGE_KINDS = {
    "page": "事件提醒",
    "update": "进展通知",
    "copy": "抄送",
    "assignment": "交办通知",
    "thread": "后续进展",
    "edit": "更新原消息",
    "remind": "时限过半提醒",
    "yellow": "黄牌提醒",
    "red": "红牌提醒",
    "reminder": "时限提醒",
    "report": "周报",
    "heartbeat": "平安报告",
}
MESSAGE_STATES = {
    "pending": "待发送",
    "sending": "发送中",
    "sent": "已送达渠道",
    "refused": "被拒收",
    "superseded": "已撤回",
}
CLOCK_STATES = {"open": "计时中", "met": "按时", "missed": "超时", "cancelled": "已取消"}
SOURCE_STATES = {
    "new": "未采集",
    "ok": "正常",
    "unchanged": "正常，无更新",
    "quiet": "久无新帖",
    "empty": "没有内容",
    "blocked": "被拒绝访问",
    "robots": "robots 禁止",
    "error": "出错",
    "changed": "页面结构变化",
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
    "job:heartbeat": "平安报告",
    "job:topics": "话题",
    "job:weekly": "周报",
    "job:purge": "到期清理",
    "analysis": "研判批次",
    "alerts.tick": "预警：时限巡检",
    "alerts.send": "预警：发送",
    "alerts.calendar": "预警：工作日历",
    "alerts.heartbeat": "预警：平安报告",
    "installed": "首次启动",
    "demo": "演示",
}
#: how a topic moved since the week before
TRENDS = {"first": "首周", "new": "新话题", "growing": "升温", "steady": "平稳", "fading": "降温"}
DONE = {
    "ack": "已确认收到。",
    "confirm": "已研判属实。",
    "false_alarm": "已判为误报。",
    "assign": "已交办。",
    "sign": "已签收。",
    "return": "已退回。",
    "respond": "回应已登记。",
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
    "password": "密码已修改。",
}

TABLES: dict[str, dict[str, str]] = {
    "state": STATES,
    "level": LEVELS,
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
    "source_state": SOURCE_STATES,
    "unit": UNITS,
    "basis": BASIS,
    "why": WHY,
    "part": PARTS,
    "done": DONE,
    "trend": TRENDS,
    "step": dict(STEPS),
}


def word(table: str, code: object) -> str:
    """The msgid of a code; an unknown code stands for itself, so that a page never fails on a new one."""
    return TABLES[table].get(str(code), str(code))
