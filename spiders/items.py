"""What a connector yields: one public post as the source showed it, before redaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from incidents.grams import storable

#: characters of text that are kept; a longer page is a list or a mistake of the extractor
MAX_TEXT = 20_000
#: width of post.external_id
MAX_EXTERNAL_ID = 200


class PostItem(BaseModel):
    """One post, raw. Lives in memory only: `spiders.pipelines.to_post` redacts it before the first write.

    `published_at` is aware, or None when the source gave no usable time (the fetch time then stands in).
    `author_raw` never leaves this object: it becomes an HMAC pseudonym or nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_id: str = Field(min_length=1, max_length=80)
    external_id: str = Field(min_length=1, max_length=MAX_EXTERNAL_ID)
    url: str = ""
    title: str = ""
    text: str = ""
    published_at: datetime | None = None
    author_raw: str | None = Field(None, repr=False)
    place_hint: str = ""
    engagement: dict[str, int] = Field(default_factory=dict)
    #: only a part of the post, or other words than its page has: never compared with what is stored
    partial: bool = False
    #: extractor, charset, ...: nothing personal
    provenance: dict[str, Any] = Field(default_factory=dict)

    @field_validator("external_id", "url", "title", "text", "author_raw", "place_hint", mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        # a title that a site cut in the middle of an emoji must not cost the whole source
        return storable(value) if isinstance(value, str) else value

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        # "http://[待补" is no address: the post counts, and nothing that asks for hosts later stumbles over it
        try:
            urlsplit(value)
        except ValueError:
            return ""
        return value

    @field_validator("published_at")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("naive time: the connector has to attach a zone")
        return value


class Unusable(BaseModel):
    """An entry that could not become a post; it is set aside with its reason, the others go on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_id: str
    external_id: str = ""
    field: str
    reason: str
    payload: dict[str, Any] = Field(default_factory=dict, repr=False)
