"""Python's garbage collector, in a process that does nothing but to handle events."""

import gc


def spare_the_collector() -> None:
    """What is loaded by now stays until the end, and windows of events are no garbage: looked through each time, they
    take a fifth of a worker's time, and the process stands still for 30 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
