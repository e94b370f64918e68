"""The only place that spells Redis keys (DESIGN.md section 3 lists them)."""

from eventstore.partitions import hash_tags


class Keys:
    """The keys of one log. `prefix` tells two logs of one server apart."""

    def __init__(self, prefix: str, partitions: int) -> None:
        self.log = log_key(prefix)
        self._stems = tuple(f"{prefix}:{{{tag}}}:" for tag in hash_tags(partitions))
        self.stems = frozenset(self._stems)

    def stem(self, partition: int) -> str:
        """What every key of a partition begins with: it decides the slot."""
        return self._stems[partition]

    def events(self, partition: int) -> str:
        return self._stems[partition] + "log"

    def index(self, partition: int, stream: str) -> str:
        return f"{self._stems[partition]}i:{stream}"

    def head(self, partition: int) -> str:
        return self._stems[partition] + "head"

    def urgent(self, partition: int) -> str:
        return self._stems[partition] + "urgent"

    def duplicates(self, partition: int) -> tuple[str, str]:
        return self._stems[partition] + "dup:0", self._stems[partition] + "dup:1"

    def outgoing(self, partition: int) -> str:
        return self._stems[partition] + "out"

    def incoming(self, partition: int) -> str:
        return self._stems[partition] + "in"

    def snapshot(self, partition: int, stream: str) -> str:
        return f"{self._stems[partition]}snap:{stream}"

    def probe(self, partition: int) -> str:
        return self._stems[partition] + "probe"

    def index_pattern(self, partition: int) -> str:
        """Matches the index keys of a partition, for SCAN."""
        return self.index(partition, "*")

    def stream_of(self, index_key: str) -> str:
        return index_key.split("}:i:", 1)[1]

    def any_pattern(self, partition: int) -> str:
        """Matches all keys of a partition, for SCAN."""
        return self._stems[partition] + "*"


def log_key(prefix: str) -> str:
    """Holds what was fixed when the log was made; known before the number of partitions is."""
    return prefix + ":log"
