"""A hash of what a task requests, which tells a retry whether its arguments changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from airflow_provider_mosaic.api.signed_links import is_signature


def fingerprint(request: Any) -> str:
    """
    Return a hash of a request. It ignores the signatures of links, which change with each rendering of a template.

    :param request: Any value that JSON can express.
    """
    text = json.dumps(_unsigned(request), sort_keys=True, ensure_ascii=False, default=str)
    # The name of a file may contain lone surrogates.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _unsigned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _unsigned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_unsigned(item) for item in value]
    if isinstance(value, str) and value.lower().startswith(("http://", "https://")):
        try:
            parts = urlsplit(value)
            query = parse_qsl(parts.query, keep_blank_values=True)
        except ValueError:
            # Not a URL, although it starts like one.
            return value
        kept = [(name, item) for name, item in query if not is_signature(name)]
        return urlunsplit(parts._replace(query=urlencode(kept, errors="surrogatepass")))
    return value
