"""Numbers that the log keeps as text in its own hashes, and what is said if somebody else wrote something there."""

from eventstore.errors import LogDamaged
from infrastructure.connect import Reply

DAMAGED = "restore a backup; another program may write under the log's prefix: eventstore verify tells the extent"


def stored_number(key: str, field: str, value: Reply, *, least: int = 0) -> int:
    """The number; 0 if there is none. Raises LogDamaged, which names the field."""
    if value is None:
        return 0
    if not (isinstance(value, bytes) and value.isdigit() and int(value) >= least):
        raise LogDamaged(f"{key}: {field} is no number that a log has there", field=field, remedy=DAMAGED)
    return int(value)
