"""Keep secrets out of words: API keys, and the queries of pre-signed URLs, each a key to one object."""

from __future__ import annotations

import logging
import re

QUERY = re.compile(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>]*")


def without_secrets(text: str, key: str = "") -> str:
    """The text with every URL's query cut off and the key, where it occurs, masked."""
    if key:
        text = text.replace(key, "***")
    return QUERY.sub(r"\1?…", text)


class HideQueries(logging.Filter):
    """Cuts the query of URLs in httpx's own request lines, which an application may log at INFO."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_secrets(record.getMessage()), None
        return True


HIDE_QUERIES = HideQueries()


def guard_httpx_log() -> None:
    """Put the filter on httpx's logger; logging keeps one filter once, so calling this again changes nothing."""
    logging.getLogger("httpx").addFilter(HIDE_QUERIES)
