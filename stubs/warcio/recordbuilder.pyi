from collections.abc import Mapping
from typing import BinaryIO

from warcio.recordloader import ArcWarcRecord
from warcio.statusandheaders import StatusAndHeaders

class RecordBuilder:
    def __init__(self, warc_version: str | None = ...) -> None: ...
    def create_warcinfo_record(self, filename: str, info: Mapping[str, str]) -> ArcWarcRecord: ...
    def create_warc_record(
        self,
        uri: str,
        record_type: str,
        payload: BinaryIO | None = ...,
        length: int | None = ...,
        warc_content_type: str = ...,
        warc_headers_dict: Mapping[str, str] | None = ...,
        http_headers: StatusAndHeaders | None = ...,
    ) -> ArcWarcRecord: ...
