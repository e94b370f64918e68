"""A process that forks while its store is open: `python -m tests.support.forking URL`.

The child tries the store and what it made, leaves its block and ends in the usual way; the parent goes on.
"""

import os
import sys

from eventstore import SyncEventStore, Unavailable
from tests.support.stores import Noted


def main(url: str) -> None:
    with SyncEventStore.open(url, types=[Noted]) as store:
        store.append("order-1", [Noted(1)])
        reading, subscription = store.read("order-1"), store.subscribe()
        next(reading)
        next(subscription)
        if (child := os.fork()) == 0:
            told = [_told(store.heads), _told(subscription.next), _told(lambda: next(store.read("order-1")))]
            subscription.close()
            reading.close()
            print(f"child: {', '.join(sorted(set(told)))}", flush=True)
        else:
            status = os.waitpid(child, 0)[1]
            print(f"parent: {status}, {store.append('order-1', [Noted(2)]).version}", flush=True)


def _told(call: object) -> str:
    try:
        assert callable(call)
        call()
    except Unavailable as error:
        return f"{error.reason}, {str(error.remedy).partition(', ')[2]}"
    return "not told"


if __name__ == "__main__":
    main(sys.argv[1])
