"""What was found at a revision, kept in the file of the read model until the revision is taken back."""

import msgspec

from examples.docs_consistency.checks import Checked, check_links
from examples.docs_consistency.checks.outline import RULE
from examples.docs_consistency.documents import Documents
from examples.docs_consistency.parse import outlines_of
from examples.docs_consistency.source import Source
from examples.docs_consistency.stop import Stop

_TABLE = "CREATE TABLE IF NOT EXISTS analyses (revision TEXT PRIMARY KEY, rule TEXT NOT NULL, checked BLOB NOT NULL)"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Checked).decode


class Analyses:
    """By revision. What was found by other rules counts as not found."""

    def __init__(self, rows: Documents) -> None:
        self._database = rows.database
        with self._database:
            self._database.execute(_TABLE)

    def kept(self, revision: str) -> Checked | None:
        query = "SELECT checked FROM analyses WHERE revision = ? AND rule = ?"
        found = self._database.execute(query, (revision, RULE)).fetchone()
        return None if found is None else _decode(found[0])

    def keep(self, revision: str, checked: Checked) -> None:
        with self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO analyses VALUES (?, ?, ?)", (revision, RULE, _encode(checked))
            )

    def forget(self, revision: str) -> None:
        with self._database:
            self._database.execute("DELETE FROM analyses WHERE revision = ?", (revision,))


async def analysis_of(source: Source, rows: Documents, stop: Stop, revision: str, part: str = "") -> Checked:
    """What was found, in the documents of a part or in all; made anew where it is not kept."""
    kept = None if part else Analyses(rows).kept(revision)
    if kept is not None:
        return kept
    files = rows.files()
    return check_links(await outlines_of(source, rows, files, stop), files, part)
