"""Secrets: where they are found, and a wrapper that keeps them out of logs and errors."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from infrastructure.errors import SettingsError

MASK = "********"
SECRETS_DIR = Path("/run/secrets")

_NAME = re.compile(r"\w[\w.-]*")
_URL = re.compile(r"(?P<scheme>[a-z]+)://(?:(?P<user>[^@/?#\s]*)@)?(?P<place>[^@?#\s]+)(?:\?(?P<query>[^@#\s]*))?")


class Secret:
    """Text that shows itself only through `reveal()`; printed, formatted or logged it is a mask."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and type(other) is type(self) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class SecretUrl(Secret):
    """A URL that prints without its user name, password and query, for each of them may be the secret.

    Raises ValueError if the text is no URL, or holds an `@` that is not percent-encoded: such a text cannot be told
    apart into what may be shown and what may not.
    """

    __slots__ = ("_shown",)

    def __init__(self, text: str) -> None:
        parts = _URL.fullmatch(text)
        if parts is None:
            raise ValueError("not a URL")
        super().__init__(text)
        user = f"{MASK}@" if parts["user"] is not None else ""
        query = f"?{MASK}" if parts["query"] else ""
        self._shown = f"{parts['scheme']}://{user}{parts['place']}{query}"

    def __str__(self) -> str:
        return self._shown


def get_secret(name: str, *, environ: Mapping[str, str] = os.environ, directory: Path = SECRETS_DIR) -> Secret | None:
    """The secret `name`, or None: from the environment, the file that `<name>_FILE` names, or `/run/secrets`.

    Empty counts as not given. Raises SettingsError for a file that cannot be read.
    """
    found = find_secret(name, environ, directory)
    return Secret(found[0]) if found else None


def find_secret(name: str, environ: Mapping[str, str], directory: Path) -> tuple[str, str] | None:
    """The text of a secret and its source. In `directory` the file may be named in lower case, as Compose does it."""
    if _NAME.fullmatch(name) is None:
        raise SettingsError(f"{name!r} is not the name of a secret", remedy="use letters, digits, '_', '-' and '.'")
    if text := environ.get(name):
        return text, f"environment {name}"
    pointer = f"{name}_FILE"
    if path := environ.get(pointer):
        # Not shown in errors: a secret is easily given where its file is asked for.
        content = _read(Path(path), f"the file that {pointer} names")
        if content is None:
            raise SettingsError(f"the file that {pointer} names does not exist", field=pointer)
        return (content, f"file {path}") if content else None
    for mounted in (directory / name, directory / name.lower()):
        if text := _read(mounted, str(mounted)):
            return text, f"file {mounted}"
    return None


def _read(path: Path, described: str) -> str | None:
    """The text without its last line end, or None if there is no such file."""
    try:
        return path.read_bytes().decode().removesuffix("\n").removesuffix("\r")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise SettingsError(f"{described} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:  # its message holds the bytes
        raise SettingsError(f"{described} is not UTF-8 text") from None
