"""eventstore log"""

from cyclopts import App

from gateway.cli.manners.flags import TIMED, TimeFlags
from gateway.cli.manners.session import Column, Session, count

NOTES = """\
Example:

    eventstore log"""

app = App(name="log", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def log(*, flags: TimeFlags = TIMED) -> None:
    """Describe the log: partitions, heads, epochs, memory."""
    from gateway import actions

    session = Session(flags)
    async with session.store(read_only=True) as store:
        found = await actions.describe_log(store)
    if session.json:
        session.show_json(found)
        return
    columns = (
        Column("PARTITION", "right"),
        Column("EVENTS", "right"),
        Column("EPOCHS", "right"),
        Column("MEMORY", "right"),
        Column("LAST EVENT"),
    )
    with session.table(*columns) as table:
        for each in found.heads:
            last = session.time(each.last_recorded_at if each.position else None)
            table.add(each.partition, count(each.position), count(each.epochs), _size(each.bytes), last)
    print(f"total {count(found.events)} events in {found.partitions} partitions, {_size(found.bytes)}")
    print(f"log    {found.prefix}, format {found.format}, durability {found.durability}")
    print(f"server {_size(found.server_bytes)} in use for everything it holds")


def _size(size: int | None) -> str:
    if size is None:
        return "-"
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1_000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1_000
    return f"{amount:.1f} GB"
