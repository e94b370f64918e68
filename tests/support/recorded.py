"""What a log holds, read without the code under test; only the codec is shared."""

from eventstore.codec import Entry, unpack
from eventstore.envelope import Receipt
from eventstore.log import Log
from tests.support.cluster import ClusterOfServers
from tests.support.servers import Server


def recorded(server: Server, log: Log) -> list[Entry]:
    """Every entry of every partition."""
    return [
        unpack(partition, entry_id, fields[1])
        for partition in range(log.partitions)
        for entry_id, fields in server.admin("XRANGE", log.keys.events(partition), "-", "+")
    ]


def recorded_in(cluster: ClusterOfServers, log: Log) -> list[Entry]:
    """The same for a Cluster: each partition from the master that serves it."""
    return [
        unpack(partition, entry_id, fields[1])
        for partition in range(log.partitions)
        for entry_id, fields in cluster.owner(log.keys.head(partition)).admin(
            "XRANGE", log.keys.events(partition), "-", "+"
        )
    ]


def is_at_its_place(receipt: Receipt, entries: list[Entry]) -> bool:
    """Whether the events of a receipt, and no others, are where it says."""
    first = receipt.position - len(receipt.ids) + 1
    found = [e for e in entries if e.partition == receipt.partition and first <= e.position <= receipt.position]
    places = [(e.id, e.version - receipt.version, e.stream, e.recorded_at) for e in found]
    last = len(receipt.ids) - 1
    return found[-1].epoch == receipt.epoch and places == [
        (event_id, place - last, receipt.stream, receipt.recorded_at) for place, event_id in enumerate(receipt.ids)
    ]
