"""A file's path as bytes (Git), as text (events, read model) and as the name of a stream.

A path is kept byte for byte wherever that is possible. Git allows what JSON and stream names do not: bytes that are no
UTF-8, control characters, any length. Such a path is percent-encoded behind a leading slash, which no path in a
checkout has, so that two paths never share a name.
"""

from hashlib import sha256
from urllib.parse import quote_from_bytes, unquote_to_bytes

from eventstore.names import MAX_STREAM_BYTES, stream_name
from examples.docs_consistency.events import CATEGORY
from infrastructure.errors import EventStoreError


def path_text(raw: bytes) -> str:
    """The path as text: itself if it is UTF-8, else `/` and the path percent-encoded."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return _escaped(raw)


def raw_path(text: str) -> bytes:
    """The bytes that `path_text` was given."""
    return unquote_to_bytes(text[1:]) if text.startswith("/") else text.encode()


def stream_of(path: str) -> str:
    """The stream of a path (text): `document-<path>`, as it is if a stream may be called so."""
    plain = f"{CATEGORY}-{path}"
    try:
        return stream_name(plain)
    except EventStoreError:
        raw = raw_path(path)
    escaped = f"{CATEGORY}-{_escaped(raw)}"
    return escaped if len(escaped) <= MAX_STREAM_BYTES else f"{CATEGORY}-//{sha256(raw).hexdigest()}"


def _escaped(raw: bytes) -> str:
    return "/" + quote_from_bytes(raw, safe="/ ")
