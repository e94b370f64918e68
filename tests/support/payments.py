"""A payment, in both styles: the sagas that tests without a server play."""

from msgspec import Struct
from msgspec.structs import replace

from consumers.context import To
from consumers.sagas.context import StepContext
from consumers.sagas.reactions import CancelTimer, Compensate, Complete, Timer, Undo, on
from consumers.sagas.saga import Saga


class Ordered(Struct, frozen=True):
    order: str
    total: int = 99


class Paid(Struct, frozen=True):
    order: str


class Reserve(Struct, frozen=True):
    order: str


class Release(Struct, frozen=True):
    order: str


class Ship(Struct, frozen=True):
    order: str


class Payment(Struct, frozen=True):
    order: str = ""
    total: int = 0
    paid: bool = False
    tags: tuple[str, ...] = ()


def by_order(event: Ordered | Paid) -> str:
    return event.order


@on(Ordered, correlate=by_order, starts=True)
def ordered(data: None, event: Ordered) -> list[object]:
    stock = f"stock-{event.order}"
    return [
        Payment(event.order, event.total),
        To(stock, Reserve(event.order)),
        Undo(stock, Release(event.order)),
        Timer("overdue", after="15m"),
    ]


@on(Paid, correlate=by_order)
def paid(data: Payment, event: Paid) -> list[object]:
    shop = To(f"shop-{data.order}", Ship(data.order))
    return [replace(data, paid=True), CancelTimer("overdue"), shop, Complete()]


@on(Timer("overdue"))
def overdue(data: Payment) -> Compensate:
    return Compensate("not paid in time")


payment = Saga("payment", data=Payment, reactions=[ordered, paid, overdue])


class Desk:
    """Where actions go: what was done, in order, and what fails next. `fails["charge"] = 2`: two attempts do."""

    def __init__(self, **fails: int) -> None:
        self.done: list[str] = []
        self.fails = fails

    async def act(self, data: Payment, ctx: StepContext) -> None:
        name = f"undo {ctx.step}" if ctx.undo else ctx.step
        left = self.fails.get(name.replace(" ", "_"), 0)
        self.fails[name.replace(" ", "_")] = left - 1
        self.done.append(f"{name} {ctx.attempt}")
        if left > 0:
            raise OSError(f"{name} is not possible")


async def pay(data: Payment, desk: Desk, ctx: StepContext) -> Payment:
    await desk.act(data, ctx)
    ctx.send(f"shop-{data.order}", Ship(data.order))
    return replace(data, paid=True)


async def act(data: Payment, desk: Desk, ctx: StepContext) -> None:
    await desk.act(data, ctx)
