"""What kind of page an answer is, before anybody looks for posts in it: a list, a login page, a challenge for browsers, garbage."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

#: longer pages hold content, whatever else they say
SHORT = 20_000
_HTML = re.compile(r"<html|<!doctype html|<body|<head", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>([^<]{0,200})", re.IGNORECASE)
_LOGIN_TITLE = re.compile(r"登[录陆]|log ?in\b|sign ?in\b|身份认证|统一认证", re.IGNORECASE)
_PASSWORD = re.compile(r"""<input[^>]{0,300}type\s*=\s*["']?password""", re.IGNORECASE)
_LOGIN_PATH = re.compile(
    r"/(?:user/|member/|account/)?(?:log-?in|sign-?in|passport|sso|cas)\b", re.IGNORECASE
)
#: pages that let a browser prove itself by running a script; we do not run it
_CHALLENGE = re.compile(
    r"acw_sc__v\d|__jsl_clearance|cf-browser-verification|cf_chl_|challenge-platform|just a moment\.\.\.|"
    r"checking your browser|enable javascript and cookies|正在验证浏览器|请开启\s?javascript|浏览器安全检查|"
    r"<title>\s*(?:安全验证|人机验证|访问验证|请稍候)",
    re.IGNORECASE,
)
#: utf-8 read as latin-1, utf-8 read as gb18030 (its commas and stops), and what is left of text that was replaced and read again
_MOJIBAKE = re.compile("[\u00c2-\u00f4][\u0080-\u00bf]+|锟斤拷|锟斤|斤拷|烫烫|屯屯|\\S?[锛銆鐨]\\S?")


def wall_of(asked: str, final: str, text: str) -> tuple[str, str] | None:
    """("login" | "blocked", what it was known by) of a page that stands in the way; None of any other."""
    asked_path, final_path = urlsplit(asked).path, urlsplit(final).path
    moved = _LOGIN_PATH.search(final_path) if final_path != asked_path else None
    if moved and not _LOGIN_PATH.search(asked_path):
        return "login", moved.group()
    if len(text) > SHORT or not _HTML.search(text[:3000]):
        return None
    challenge = _CHALLENGE.search(text)
    if challenge:
        return "blocked", re.sub(r"<[^>]*>", "", challenge.group()).strip()
    title = _TITLE.search(text)
    named = _LOGIN_TITLE.search(title.group(1)) if title else None
    if named and _PASSWORD.search(text):
        return "login", named.group()
    return None


def garbled(text: str) -> float:
    """Share of the characters beyond ASCII that say nothing: replaced ones, and utf-8 that was read as something else."""
    beyond = len(text) - len(text.encode("ascii", "ignore"))
    if beyond < 20:
        return 0.0
    broken = text.count("\ufffd") + sum(len(match.group()) for match in _MOJIBAKE.finditer(text))
    return broken / beyond
