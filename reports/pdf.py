"""A report as PDF, set by typst after GB/T 9704-2012: A4, fonts embedded, PDF/A-2b, the same bytes for the same report.

Official type (方正小标宋, 仿宋_GB2312 ...) must be bought, so an office names the folder that holds it; what is missing
there comes from Noto Serif and Sans SC, which ship in a package. Nothing is fetched and no system font is used.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import pylopdf_fonts_zh_cn
import typst

from incidents.trouble import Problem
from reports.document import Document

TEMPLATE = Path(__file__).parent / "templates" / "report.typ"
_SERIF, _SANS = "Noto Serif SC", "Noto Sans SC"
#: by role: families of an office's folder in order of preference, then what always is there
ROLES: dict[str, tuple[tuple[str, ...], str]] = {
    "title": (
        ("FZXiaoBiaoSong-B05S", "FZXiaoBiaoSong-B05", "方正小标宋简体", "方正小标宋_GBK", "STZhongsong", "华文中宋"),
        _SERIF,
    ),
    "body": (
        ("FangSong_GB2312", "仿宋_GB2312", "FangSong", "仿宋", "STFangsong", "FandolFang R", "FandolFang"),
        _SERIF,
    ),
    "hei": (("SimHei", "黑体", "STHeiti", "FandolHei"), _SANS),
    "kai": (
        ("KaiTi_GB2312", "楷体_GB2312", "KaiTi", "楷体", "STKaiti", "FandolKai"),
        _SERIF,
    ),
    "song": (("SimSun", "宋体", "STSong", "FandolSong"), _SERIF),
}  # fmt: skip


@lru_cache(maxsize=4)
def _fonts(folder: str) -> typst.Fonts:
    """Fonts are read once a process: twenty megabytes for each report would be its slowest part."""
    packaged = Path(pylopdf_fonts_zh_cn.serif_path()).parent
    paths = [str(packaged), *([folder] if folder else [])]
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=paths)


def families(folder: Path | None) -> dict[str, tuple[str, ...]]:
    """The families of each role, the wanted one first; the last one has the rare characters."""
    known = set(_fonts(str(folder or "")).families())
    return {
        role: (*(name for name in wanted if name in known), last) for role, (wanted, last) in ROLES.items()
    }


def as_pdf(document: Document, at: datetime, font_dir: Path | None = None) -> bytes:
    """The report as PDF/A-2b. `at` (local) is the date written into the file.

    Raises Problem when the folder of fonts is not there.
    """
    if font_dir is not None and not font_dir.is_dir():
        raise Problem(
            f"{font_dir}: no such folder; put the office's fonts there or leave reports.font_dir empty"
        )
    data = {
        "fonts": families(font_dir),
        "year": at.year,
        "month": at.month,
        "day": at.day,
        **{key: value for key, value in asdict(document).items() if key != "charts"},
    }
    with tempfile.TemporaryDirectory(prefix="quansheng-report-") as name:
        folder = Path(name)
        (folder / "data.json").write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
        (folder / "report.typ").write_bytes(TEMPLATE.read_bytes())
        for chart, png in document.charts.items():
            (folder / chart).write_bytes(png)
        compiler = typst.Compiler(
            str(folder / "report.typ"),
            root=str(folder),
            font_paths=_fonts(str(font_dir or "")),
            ignore_system_fonts=True,
        )
        content = compiler.compile(format="pdf", pdf_standards=["a-2b"], timestamp=int(at.timestamp()))
    if not isinstance(content, bytes):
        raise TypeError("typst made no PDF")
    return content
