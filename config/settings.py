"""Typed settings: `quansheng.toml`, then `.env`, then `QUANSHENG_*` variables (the later wins).

To add a knob: give it a type, a default, a unit and the reason for the default in its description;
`docs/configuration.md` must name it (a test compares). A nested value is set by the environment as
`QUANSHENG_CRAWL__USER_AGENT=...`. Secrets come only from the environment or from files named here.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from config.accounts import ROLES
from config.evaluation import EvaluationSettings
from config.problems import Origin, bad_variables


class ConfigError(Exception):
    """The configuration is wrong. Each entry of `problems` names file, key, value and expectation."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CitySettings(_Section):
    """Which city this is."""

    id: str = Field(
        "jinan",
        pattern=r"^[a-z][a-z0-9_-]*$",
        description="File name of the city's rules and places: rules/<id>.yaml, places/<id>.yaml.",
    )
    name: str = Field("济南市", description="Name of the city as it stands in messages and reports.")
    timezone: str = Field(
        "Asia/Shanghai", description="IANA zone in which people read times; storage is UTC."
    )
    language: Literal["zh_CN", "en"] = Field("zh_CN", description="Language of messages and reports.")


class DatabaseSettings(_Section):
    """Where incidents live."""

    url: str = Field(
        "",
        description="SQLAlchemy URL; empty means SQLite `quansheng.db` in data_dir. "
        "PostgreSQL: postgresql+psycopg://user@host/db (many workers).",
    )
    busy_timeout_s: float = Field(
        10.0,
        gt=0,
        le=120,
        description="Seconds a writer waits for a lock that a program of others holds before it fails. Our own writers queue and are waited for three times as long, counted anew whenever the queue moves.",
    )


class CrawlSettings(_Section):
    """How politely we read."""

    user_agent: str = Field(
        "QuanshengBot/0.1 (+https://example.invalid/quansheng-bot)",
        description="Sent with every request; put a page here that names the unit and a contact.",
    )
    delay_s: float = Field(
        2.0,
        ge=0,
        le=3600,
        description="Seconds between two requests to one host; a longer Crawl-delay in robots.txt wins.",
    )
    timeout_s: float = Field(30.0, gt=0, le=300, description="Seconds until one request is given up.")
    max_body_mb: float = Field(
        5.0,
        gt=0,
        le=100,
        description="Megabytes of one response after unpacking; more is cut off and the source says so.",
    )
    crawl_limit_s: float = Field(
        300.0, gt=0, le=3600, description="Seconds one crawl of one host may take before it is stopped."
    )
    max_items: int = Field(2000, gt=0, description="Posts taken from one source in one crawl.")
    revisits: int = Field(
        20,
        ge=0,
        le=500,
        description="Known posts that one reading of a source looks at again (open incidents; counts of young posts); 0: none.",
    )
    robots_ttl_h: float = Field(
        24.0, gt=0, le=24, description="Hours a robots.txt is believed (RFC 9309 allows 24 at most)."
    )
    block_pause_h: float = Field(
        6.0, gt=0, le=720, description="Hours a host is left alone after 403 or 429 without Retry-After."
    )
    allow_private_hosts: tuple[str, ...] = Field(
        (),
        description="Host names or addresses in private ranges that a source may point at (SSRF guard refuses all others).",
    )
    browser: str = Field(
        "/usr/bin/chromium",
        description="Chromium for sources with `render: browser` (optional extra [browser]); never started for others.",
    )
    browser_page_s: float = Field(
        60.0, gt=0, le=600, description="Seconds in which a browser has to build one page; then it is ended."
    )
    browser_memory_mb: int = Field(
        1500, ge=200, le=16_000, description="Megabytes that a browser may take; then it is ended."
    )
    force_full_h: float = Field(
        24.0,
        gt=0,
        le=8760,
        description="Hours after which a feed is fetched without If-None-Match: some servers lie about change.",
    )


#: limits of the fast track that an operator may replace; what each is for stands in analysis/thresholds.toml
FAST_LIMITS = (
    "min_signal",
    "min_grave",
    "min_grave_head",
    "min_grave_wide",
    "min_grave_stern",
    "sure_signal",
    "sure_grave",
    "solid_signal",
    "solid_grave",
    "real_signal",
    "real_grave",
    "review_grave",
    "review_grave_unheard",
)


class AnalysisSettings(_Section):
    """How posts are judged and when they become an incident. Model thresholds stand in analysis/thresholds.toml."""

    batch: int = Field(
        200,
        gt=0,
        le=5000,
        description="Posts judged in one transaction (200 keep SQLite's lock under 0.1 s).",
    )
    hold_s: float = Field(
        1.0,
        ge=0,
        le=60,
        description="Seconds that one batch may hold the writer's lock before the next one is halved; 0 never shrinks it. Who waits to write is let in after 20 posts whatever stands here.",
    )
    false_alarms_per_week: float = Field(
        1.0,
        gt=0,
        le=100,
        description="Burst alarms a week that background alone may cause; more means earlier warning.",
    )
    watched_domains: tuple[str, ...] = Field(
        ("schooling", "housing", "food_safety", "health", "work_safety", "disaster", "elderly"),
        description="Domains whose incidents are raised: the monitoring list of the notice, part 五(二).",
    )
    fast: dict[str, float] = Field(
        {},
        description="Limits of the fast track that replace those of analysis/thresholds.toml, [fast], by name; `quansheng backtest` tells beforehand what they would have changed.",
    )

    @field_validator("fast")
    @classmethod
    def _known_limits(cls, value: dict[str, float]) -> dict[str, float]:
        """Only limits that there are, each a probability."""
        if strange := sorted(value.keys() - set(FAST_LIMITS)):
            raise ValueError(f"no such limit: {', '.join(strange)}; there are {', '.join(FAST_LIMITS)}")
        if wrong := sorted(name for name, limit in value.items() if not 0 <= limit <= 1):
            raise ValueError(f"{', '.join(wrong)}: a probability from 0 to 1 is expected")
        return value


class AlertSettings(_Section):
    """How people are told."""

    ack_timeout_min: int = Field(
        15,
        gt=0,
        le=1440,
        description="Minutes until the next rung of the acknowledgement ladder is paged; runs from the accepted page.",
    )
    heartbeat_at: str = Field(
        "08:30",
        pattern=r"^([01]\d|2[0-3]):[0-5]\d$",
        description="Local time of the daily 'system normal' message.",
    )
    link_base: str = Field(
        "",
        description="Public base URL of the console in messages; empty means http://127.0.0.1:<console.port>.",
    )
    link_valid_h: int = Field(72, gt=0, le=720, description="Hours a signed acknowledgement link works.")
    send_timeout_s: float = Field(10.0, gt=0, le=60, description="Seconds one send may take.")
    budget_per_shift: int = Field(
        40,
        gt=0,
        le=10_000,
        description="Messages that one officer bears in a shift (one every 18 minutes for 12 h); beyond it all but first pages of grave matters are bundled, and the desk says so.",
    )
    handover_required: bool = Field(
        False,
        description="Whether the outgoing officer stays responsible until the incoming one has confirmed; off: the roster alone decides, the receipt is a record.",
    )
    progress_min: dict[str, int] = Field(
        {"general": 240, "serious": 120, "major": 60, "critical": 30},
        description="Minutes by grade after which an acknowledged incident that nobody confirmed, dismissed or assigned is asked about anew.",
    )
    outer_min: dict[str, int] = Field(
        {"general": 720, "serious": 240, "major": 120, "critical": 60},
        description="Minutes by grade from the detection by which somebody must have confirmed or dismissed; nothing moves this time.",
    )
    joint_repeats: dict[str, int] = Field(
        {"general": 0, "serious": 1, "major": 3, "critical": 6},
        description="How often by grade everybody is asked again together after the last rung; then the legal clocks alone go on.",
    )
    joint_every_min: int = Field(30, gt=0, le=1440, description="Minutes between two of these joint rounds.")

    @field_validator("progress_min", "outer_min", "joint_repeats")
    @classmethod
    def _by_grade(cls, value: dict[str, int], info: ValidationInfo) -> dict[str, int]:
        """Grades that a table leaves out keep their default; no other names, and numbers that a night can bear."""
        defaults: dict[str, int] = cls.model_fields[str(info.field_name)].default
        if strange := sorted(value.keys() - defaults.keys()):
            raise ValueError(f"no grade {', '.join(strange)}; use {', '.join(defaults)}")
        least, most = (0, 48) if info.field_name == "joint_repeats" else (1, 7 * 24 * 60)
        for grade, number in value.items():
            if not least <= number <= most:
                raise ValueError(f"{grade}: {number} is not between {least} and {most}")
        return {**defaults, **value}


class SlackSettings(_Section):
    """Slack. Off while no token is given."""

    token: SecretStr = Field(
        SecretStr(""), description="Bot token (xoxb-...), scope chat:write; secret, from the environment."
    )
    signing_secret: SecretStr = Field(
        SecretStr(""), description="Verifies button presses sent by Slack; secret, from the environment."
    )
    app_token: SecretStr = Field(
        SecretStr(""),
        description="App-level token (xapp-..., scope connections:write) for Socket Mode: buttons without ingress; secret, from the environment.",
    )
    channel: str = Field("", description="Channel id (C...) that gets every incident.")
    base_url: str = Field(
        "https://slack.com/api/", description="API address; tests and the demo point it at the fake Slack."
    )


class MailSettings(_Section):
    """SMTP. Off while no host is given: messages then lie in the local outbox folder as .eml files."""

    host: str = Field("", description="SMTP server; empty means no mail leaves this machine.")
    port: int = Field(25, gt=0, lt=65536, description="SMTP port.")
    security: Literal["none", "starttls", "tls"] = Field(
        "none", description="How the connection is protected; intranet relays often have none."
    )
    user: str = Field("", description="SMTP login; empty means none.")
    password: SecretStr = Field(SecretStr(""), description="SMTP password; secret, from the environment.")
    sender: str = Field("quansheng@localhost", description="From address; Message-IDs use its domain.")
    dkim_key: str = Field("", description="PEM file of the DKIM key; empty: mails are not signed.")
    dkim_selector: str = Field("quansheng", description="Selector of the DKIM key in the DNS.")


class WecomSettings(_Section):
    """企业微信 WeCom. Off while neither a robot nor an app is given."""

    robots: dict[str, SecretStr] = Field(
        {}, description="Group robots: name -> key of its webhook; secrets, from the environment as JSON."
    )
    corp_id: str = Field(
        "", description="Corp id; with agent_id and secret it allows messages to single persons."
    )
    agent_id: int = Field(0, ge=0, description="Number of the app.")
    secret: SecretStr = Field(SecretStr(""), description="Secret of the app; from the environment.")
    base_url: str = Field("https://qyapi.weixin.qq.com", description="API address; tests point it at a fake.")


class DingtalkSettings(_Section):
    """钉钉 DingTalk. Off while no robot is given."""

    robots: dict[str, SecretStr] = Field(
        {}, description="Group robots: name -> access_token; secrets, from the environment as JSON."
    )
    secrets: dict[str, SecretStr] = Field(
        {}, description="Signing secrets (加签) of those robots that have one, by the same names."
    )
    base_url: str = Field("https://oapi.dingtalk.com", description="API address; tests point it at a fake.")


class FeishuSettings(_Section):
    """飞书 Feishu. Off while neither a robot nor an app is given."""

    robots: dict[str, SecretStr] = Field(
        {},
        description="Group robots: name -> last part of the hook's address; secrets, from the environment as JSON.",
    )
    secrets: dict[str, SecretStr] = Field(
        {}, description="Signing secrets (签名校验) of those robots that have one, by the same names."
    )
    app_id: str = Field("", description="App id; with app_secret it allows messages to single persons.")
    app_secret: SecretStr = Field(SecretStr(""), description="Secret of the app; from the environment.")
    base_url: str = Field("https://open.feishu.cn", description="API address; tests point it at a fake.")


class WebhookSettings(_Section):
    """Webhooks of one's own systems. Off while no target is given."""

    targets: dict[str, str] = Field({}, description="Addresses that get signed JSON: name -> URL.")
    secret: SecretStr = Field(
        SecretStr(""), description="Shared secret of the HMAC-SHA256 signature; from the environment."
    )


class WatchSettings(_Section):
    """Who notices that this system itself is silent."""

    canary_min: int = Field(
        15,
        ge=2,
        le=1440,
        description="Minutes between two test messages through each channel named in `canary`.",
    )
    canary: dict[str, str] = Field(
        {},
        description="Channel -> recipient of its silent test messages (a test robot, a test channel, a test mailbox).",
    )
    ping_url: SecretStr = Field(
        SecretStr(""),
        description="Address outside that expects a GET every ping_min minutes (healthchecks style); secret, from the environment.",
    )
    ping_min: int = Field(
        1,
        ge=1,
        le=1440,
        description="Minutes between two pings; outside, expect one in this time and allow 2 min of grace.",
    )
    ping_fail: bool = Field(
        True, description="Whether <ping_url>/fail is told the reasons when the audit is not clean."
    )


class ConsoleSettings(_Section):
    """The web console."""

    host: str = Field(
        "127.0.0.1", description="Address to bind; 0.0.0.0 opens it to the network, then put TLS in front."
    )
    port: int = Field(8600, ge=0, lt=65536, description="Port; 0 takes a free one.")
    session_h: float = Field(12.0, gt=0, le=168, description="Hours a login lasts at most (one shift).")
    idle_min: int = Field(
        30, gt=0, le=720, description="Minutes without a request until logout (等保 2.0 practice: 15 to 30)."
    )
    unmask_min: int = Field(
        60,
        gt=0,
        le=1440,
        description="Minutes for which masked words are shown after a second person agreed.",
    )


class ApiSettings(_Section):
    """The HTTP API and the analysts' SQL."""

    per_minute: int = Field(
        240, gt=0, le=100_000, description="Requests that one token or one person may make in a minute."
    )
    token_days: int = Field(
        180, gt=0, le=3650, description="Days a token is valid at most; whoever makes one may choose fewer."
    )
    sql: bool = Field(
        False,
        description="Lets analysts ask a de-identified copy by SQL (SELECT only); off until somebody decides that it is wanted.",
    )
    sql_refresh_min: int = Field(
        360, gt=0, le=10_080, description="Minutes after which that copy is written anew."
    )
    sql_seconds: float = Field(10.0, gt=0, le=300, description="Seconds one query may take.")
    sql_rows: int = Field(
        10_000, gt=0, le=1_000_000, description="Rows one answer may have; more are cut off and it says so."
    )
    sql_memory_mb: int = Field(
        256, ge=64, le=8192, description="Megabytes the process of one query may take."
    )


class SigninSettings(_Section):
    """Signing in to the console: passwords, locks, one-time codes, sessions. Defaults follow 等保 2.0 practice."""

    password_length: int = Field(8, ge=8, le=64, description="Characters that a new password needs at least.")
    password_classes: int = Field(
        3, ge=1, le=4, description="Of lower case, upper case, digits and symbols: so many kinds at least."
    )
    password_history: int = Field(
        5, ge=0, le=24, description="So many earlier passwords of an account are not taken again."
    )
    password_days: int = Field(
        90, ge=0, le=3650, description="Days until a password has to be replaced; 0 never asks."
    )
    failures: int = Field(
        5, ge=3, le=20, description="Wrong passwords or codes in a row until the account is locked."
    )
    lock_min: int = Field(30, ge=1, le=1440, description="Minutes for which it is locked.")
    sessions: int = Field(
        3, ge=1, le=50, description="Sessions of one account at the same time; one more ends the oldest."
    )
    totp_roles: tuple[str, ...] = Field(
        (),
        description="Roles that must use one-time codes as second factor (等保三级 asks two factors); others may.",
    )

    group_roles: dict[str, str] = Field(
        {},
        description="Groups of the sign-in services and the role each gives, e.g. {'yq-duty' = 'duty', 'yq-edu' = 'department:edu'};"
        " the first that a person is in counts. Nobody gets an account without one.",
    )

    @field_validator("group_roles")
    @classmethod
    def _known(cls, given: dict[str, str]) -> dict[str, str]:
        for group, role in given.items():
            name, _, unit = role.partition(":")
            if name not in ROLES or (name == "department") != bool(unit):
                raise ValueError(
                    f"{group}: {role!r} is no role; one of {', '.join(ROLES)} expected, a clerk as 'department:ID'"
                )
        return given

    @field_validator("totp_roles")
    @classmethod
    def _roles(cls, roles: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(roles) - set(ROLES))
        if unknown:
            raise ValueError(f"unknown role {unknown[0]!r}; one of {', '.join(ROLES)} expected")
        return roles


class OidcSettings(_Section):
    """Sign-in by OpenID Connect. Off while no issuer is given."""

    issuer: str = Field("", description="Address of the issuer, as its discovery document says it.")
    client_id: str = Field(
        "", description="Name of this console there; its way back is <link_base>/sign-in/oidc/back."
    )
    client_secret: SecretStr = Field(SecretStr(""), description="Its secret, from the environment.")
    scope: str = Field("openid profile", description="What is asked for; `openid` must be in it.")
    name_claim: str = Field("name", description="Claim with the person's name.")
    groups_claim: str = Field("groups", description="Claim with the groups (a list, or a text with commas).")


class CasSettings(_Section):
    """Sign-in by CAS, protocol 3. Off while no address is given."""

    url: str = Field("", description="Address of the CAS server, e.g. https://cas.example.invalid/cas.")
    name_attribute: str = Field("displayName", description="Attribute with the person's name.")
    groups_attribute: str = Field("memberOf", description="Attribute with the groups.")


class LdapSettings(_Section):
    """Sign-in with the password of an LDAP or AD directory. Off while no address is given; needs `pip install quansheng[ldap]`."""

    url: str = Field("", description="ldaps://host or ldap://host (then with StartTLS).")
    start_tls: bool = Field(True, description="Encrypt an ldap:// connection before anything is sent.")
    bind_dn: str = Field("", description="Account that may search; empty searches anonymously.")
    bind_password: SecretStr = Field(SecretStr(""), description="Its password, from the environment.")
    base: str = Field("", description="Where people are looked for.")
    login_attribute: str = Field(
        "uid", description="Attribute that is typed as login name (AD: sAMAccountName)."
    )
    name_attribute: str = Field("displayName", description="Attribute with the person's name.")
    groups_attribute: str = Field("memberOf", description="Attribute with the groups.")


class GatewaySettings(_Section):
    """Sign-in by a trusted gateway that names the person in a header. Off while no header is given."""

    header: str = Field("", description="Header with the person's login, e.g. X-Remote-User.")
    name_header: str = Field("", description="Header with the person's name, percent-encoded UTF-8.")
    groups_header: str = Field("", description="Header with the groups, with commas between.")
    proxies: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description="Addresses or networks of the gateway; from anywhere else the headers are not looked at.",
    )


class ReportSettings(_Section):
    """Reports: weekly, and daily, monthly and yearly where they are wanted."""

    weekly_at: str = Field(
        "mon 08:07",
        pattern=r"^(mon|tue|wed|thu|fri|sat|sun) ([01]\d|2[0-3]):[0-5]\d$",
        description="Local time; not on the full hour, when robots of all offices send.",
    )
    daily_at: str = Field(
        "",
        pattern=r"^(([01]\d|2[0-3]):[0-5]\d)?$",
        description="Local time of the daily brief about the day before, such as 07:47; empty: none.",
    )
    monthly_at: str = Field(
        "",
        pattern=r"^((0[1-9]|1\d|2[0-8]) ([01]\d|2[0-3]):[0-5]\d)?$",
        description="Day and local time of the report about the month before, such as 02 08:17; empty: none.",
    )
    yearly_at: str = Field(
        "",
        pattern=r"^((0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8]) ([01]\d|2[0-3]):[0-5]\d)?$",
        description="Day and local time of the report about the year before, such as 01-05 08:27; empty: none.",
    )
    recipients: tuple[str, ...] = Field((), description="Mail addresses that get the reports.")
    min_sample: int = Field(
        10, gt=0, description="Fewer cases than this give 'not enough data' instead of a rate."
    )
    attach: tuple[Literal["pdf", "docx", "xlsx"], ...] = Field(
        ("pdf",),
        description="Formats attached to the mail; all of them lie beside the page in any case.",
    )
    issuer: str = Field(
        "",
        description="Office that issues the reports 编发单位, as their heads name it; empty means the city's name.",
    )
    font_dir: str = Field(
        "",
        description="Folder with the office's own fonts (方正小标宋, 仿宋_GB2312, 黑体, 楷体_GB2312, 宋体) for PDF, beside this "
        "file or absolute; empty, or for a font that is not there: Noto Serif/Sans SC.",
    )

    def at(self, kind: Literal["daily", "weekly", "monthly", "yearly"]) -> str:
        """When a report of this kind is due; empty: never by itself."""
        return {
            "daily": self.daily_at,
            "weekly": self.weekly_at,
            "monthly": self.monthly_at,
            "yearly": self.yearly_at,
        }[kind]


class AccountabilitySettings(_Section):
    """The department table, the letters of supervision, appeals, and the public edition."""

    min_n: int = Field(
        10,
        ge=2,
        description="Fewer clocks of a department than this give 'not enough data' instead of a rate.",
    )
    ceiling: float = Field(
        0.95,
        gt=0,
        le=1,
        description="When every department with enough clocks keeps at least this share, the page warns that the rest is mostly chance.",
    )
    others_h: float = Field(
        1.0,
        ge=0,
        le=48,
        description="Hours that source, system, duty desk and approvals together may use of a clock before a miss is theirs and no longer the department's.",
    )
    reply_days: int = Field(
        10,
        gt=0,
        le=60,
        description="Working days to answer a supervision order (济南市绩效管理条例 art. 15).",
    )
    appeal_file_days: int = Field(
        15, gt=0, le=60, description="Working days in which a unit may appeal (济南市绩效管理条例 art. 26)."
    )
    appeal_decide_days: int = Field(
        10,
        gt=0,
        le=60,
        description="Working days in which an appeal is decided (济南市绩效管理条例 art. 26).",
    )
    public_k: int = Field(
        10,
        ge=10,
        description="Authors that a cell of the public edition stands for at least; never fewer than 10.",
    )


class PrivacySettings(_Section):
    """How long posts are kept."""

    post_days: int = Field(
        180,
        gt=0,
        le=36_500,
        description="Days a post outside any incident is kept (网络安全法 asks 6 months for logs; no longer than needed for posts).",
    )
    incident_post_days: int = Field(
        1095, gt=0, le=36_500, description="Days the posts of a closed incident are kept as its evidence."
    )
    evidence_days: int = Field(
        365,
        gt=0,
        le=36_500,
        description="Days the originals of a closed incident are kept (encrypted, not redacted); never longer than its posts.",
    )


class EvidenceSettings(_Section):
    """Originals of posts: every answer waits in a spool, those of posts in an incident are kept."""

    spool_h: float = Field(
        48.0,
        ge=0,
        le=720,
        description="Hours an original waits for its post to join an incident; 0 keeps none, and what joins is fetched again.",
    )
    spool_mb: float = Field(
        2000.0,
        gt=0,
        le=10_000_000,
        description="Megabytes the spool may take; above that the oldest hours go first.",
    )
    min_free_mb: float = Field(
        500.0,
        ge=0,
        le=10_000_000,
        description="Megabytes that must stay free on the disk; below that no original is written, posts still are.",
    )
    refetch_max: int = Field(
        3,
        ge=0,
        le=50,
        description="Originals that one crawl of a source may fetch again, politely like every other page; 0 fetches none.",
    )


class Settings(BaseSettings):
    """Everything. Frozen: a run works with one set of settings from start to end."""

    model_config = SettingsConfigDict(
        env_prefix="QUANSHENG_",
        env_nested_delimiter="__",
        env_file=None,
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    config_dir: Path = Field(
        Path(),
        description="Folder of sources.yaml, departments.yaml, roster.yaml, routes.yaml and rules/; set by --config.",
    )
    data_dir: Path = Field(
        Path("var"),
        description="Folder of database, keys, evidence and local outbox; relative to config_dir.",
    )
    city: CitySettings = CitySettings()
    database: DatabaseSettings = DatabaseSettings()
    crawl: CrawlSettings = CrawlSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    alerts: AlertSettings = AlertSettings()
    slack: SlackSettings = SlackSettings()
    mail: MailSettings = MailSettings()
    wecom: WecomSettings = WecomSettings()
    dingtalk: DingtalkSettings = DingtalkSettings()
    feishu: FeishuSettings = FeishuSettings()
    webhook: WebhookSettings = WebhookSettings()
    watch: WatchSettings = WatchSettings()
    console: ConsoleSettings = ConsoleSettings()
    api: ApiSettings = ApiSettings()
    signin: SigninSettings = SigninSettings()
    oidc: OidcSettings = OidcSettings()
    cas: CasSettings = CasSettings()
    ldap: LdapSettings = LdapSettings()
    gateway: GatewaySettings = GatewaySettings()
    reports: ReportSettings = ReportSettings()
    accountability: AccountabilitySettings = AccountabilitySettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    privacy: PrivacySettings = PrivacySettings()
    evidence: EvidenceSettings = EvidenceSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Init arguments, then environment, then .env, then the TOML file."""
        toml = TomlConfigSettingsSource(settings_cls)
        return (init_settings, env_settings, dotenv_settings, toml)

    @property
    def data_path(self) -> Path:
        """Absolute data folder."""
        return (self.config_dir / self.data_dir).resolve()

    @property
    def database_url(self) -> str:
        """The URL in force."""
        return self.database.url or f"sqlite:///{self.data_path / 'quansheng.db'}"

    @property
    def link_base(self) -> str:
        """Base URL of links in messages, without a closing slash."""
        return (self.alerts.link_base or f"http://127.0.0.1:{self.console.port}").rstrip("/")


def load_settings(path: Path | None = None, **overrides: Any) -> Settings:
    """Read `path` (default ./quansheng.toml if it exists), `.env` beside it and the environment.

    Raises ConfigError with one entry per wrong key; a file that was named but is absent is wrong too.
    """
    if path is not None and not path.is_file():
        raise ConfigError([f"{path}: no such file; `quansheng init {path.parent}` writes one"])
    file = path or Path("quansheng.toml")
    folder = file.parent

    class _Bound(Settings):
        model_config = SettingsConfigDict(
            toml_file=file if file.is_file() else None,
            env_file=folder / ".env",
        )

    if bad := list(bad_variables(os.environ, Settings)):
        raise ConfigError(bad)
    try:
        bound = _Bound(**{"config_dir": folder.resolve(), **overrides})
    except ValidationError as exc:
        origin = Origin(file, os.environ)
        raise ConfigError([origin.sentence(dict(problem), Settings) for problem in exc.errors()]) from exc
    except tomllib.TOMLDecodeError as exc:  # its text names line and column
        raise ConfigError([f"{file}: not valid TOML: {exc}"]) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError([f"{file}: byte {exc.start + 1} is not UTF-8; save the file as UTF-8"]) from exc
    except SettingsError as exc:  # only .env can still hold a list that is not JSON
        raise ConfigError([f'{folder / ".env"}: {exc}; a list is written as JSON: ["a", "b"]']) from exc
    return Settings.model_construct(**dict(bound))
