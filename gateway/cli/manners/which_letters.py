"""The flags that choose among dead letters."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from gateway.cli.names import categories

if TYPE_CHECKING:
    from consumers.dead_letters import Where

WHICH = Group("Which letters", sort_key=5)


@Parameter(name="*", group=WHICH)
@dataclass(frozen=True, kw_only=True)
class WhichLetters:
    """All that is given must hold."""

    error: Annotated[str | None, Parameter(show_default=False)] = None
    """Only those that fail by this class of exception."""

    type: Annotated[str | None, Parameter(show_default=False)] = None
    """Only events of this type."""

    category: Annotated[str | None, Parameter(completer=categories, show_default=False)] = None
    """Only streams whose name begins so, up to the first hyphen."""

    prefix: Annotated[str | None, Parameter(show_default=False)] = None
    """Only streams whose name begins so."""

    older_than: Annotated[str | None, Parameter(show_default=False)] = None
    """Only those that were parked so long ago, such as 2h."""

    @property
    def given(self) -> dict[str, str]:
        """Flag -> value."""
        flags = {
            "--error": self.error,
            "--type": self.type,
            "--category": self.category,
            "--prefix": self.prefix,
            "--older-than": self.older_than,
        }
        return {flag: value for flag, value in flags.items() if value is not None}

    @property
    def words(self) -> list[str]:
        """As they were typed."""
        return [word for flag, value in self.given.items() for word in (flag, value)]

    def where(self) -> "Where":
        from gateway import letters

        return letters.where(
            error=self.error,
            type=self.type,
            category=self.category,
            prefix=self.prefix,
            older_than=self.older_than,
        )


@dataclass(frozen=True, kw_only=True)
class SelectedLetters(WhichLetters):
    """And what is to become of a selection of them."""

    every: Annotated[bool, Parameter(name="--all", negative="", show_default=False)] = False
    """All that these flags leave."""

    limit: Annotated[int | None, Parameter(show_default=False)] = None
    """Only the first so many."""

    rate: Annotated[float | None, Parameter(show_default=False)] = None
    """So many letters in a second."""

    execute: Annotated[bool, Parameter(negative="", show_default=False)] = False
    """Run the plan."""

    dry_run: Annotated[bool, Parameter(negative="", show_default=False)] = False
    """Only show the plan, as without --execute."""

    @property
    def given(self) -> dict[str, str]:
        bounds = {"--limit": self.limit, "--rate": None if self.rate is None else f"{self.rate:g}"}
        there = {flag: str(value) for flag, value in bounds.items() if value is not None}
        return super().given | there

    @property
    def switches(self) -> list[str]:
        named = {"--all": self.every, "--execute": self.execute, "--dry-run": self.dry_run}
        return [flag for flag, is_given in named.items() if is_given]


ALL_LETTERS, NO_SELECTION = WhichLetters(), SelectedLetters()
"""None given: the defaults of a command's `which`."""
