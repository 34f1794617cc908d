from typing import BinaryIO

from warcio.recordloader import ArcWarcRecord

class WARCWriter:
    def __init__(self, filebuf: BinaryIO, gzip: bool = ..., *, warc_version: str | None = ...) -> None: ...
    def write_record(self, record: ArcWarcRecord) -> None: ...
