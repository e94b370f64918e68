"""A file that appears when it is whole, or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from gateway.errors import BadRequest


@contextmanager
def whole_file(path: Path, *, field: str, mode: int | None = None, remedy: str | None = None) -> Iterator[IO[bytes]]:
    """Writes beside the file and puts it into place when the block ends without an error. `mode` is its permissions;
    None: those of a new file. Raises BadRequest if it cannot be written."""
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                temporary.chmod(0o666 & ~_umask() if mode is None else mode)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise BadRequest(f"{path} cannot be written: {error.strerror}", field=field, remedy=remedy) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
