"""An account, as a fold and as a decider: what tests of decisions share."""

from msgspec import Struct

from eventstore import Decider, Fold


class Deposited(Struct, frozen=True):
    amount: int


class Withdrawn(Struct, frozen=True):
    amount: int


class Account(Struct, frozen=True):
    balance: int = 0
    events: int = 0


class Deposit(Struct, frozen=True):
    amount: int


class Withdraw(Struct, frozen=True):
    amount: int


class Insufficient(Exception):
    """More was asked for than there is."""


def apply(state: Account, event: Deposited | Withdrawn) -> Account:
    match event:
        case Deposited(amount):
            return Account(state.balance + amount, state.events + 1)
        case Withdrawn(amount):
            return Account(state.balance - amount, state.events + 1)
        case _:
            return state


def decide(command: Deposit | Withdraw, state: Account) -> Deposited | Withdrawn | None:
    match command:
        case Deposit(0):
            return None
        case Deposit(amount):
            return Deposited(amount)
        case Withdraw(amount) if amount > state.balance:
            raise Insufficient(f"{state.balance} is all there is")
        case Withdraw(amount):
            return Withdrawn(amount)


ACCOUNT = Fold(Account(), apply)
BANK = Decider(Account(), decide, apply)
