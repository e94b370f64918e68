"""Types by which msgspec crashes the process are refused before it sees them. In child processes, which may die."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAD = """
import gc
from typing import Annotated, NamedTuple, Optional
import msgspec
from msgspec import Meta, Struct
from eventstore import Fold, event
from eventstore.errors import EventStoreError
Positive = Annotated[int, Meta(ge=1)]
class Pair(NamedTuple):
    x: int
    y: int
"""
TAIL = """
except EventStoreError as error:
    print(error)
gc.collect()
print("alive")
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    code = f"{HEAD}\ntry:\n    {body}{TAIL}"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


EVENT = "@event()\n    class Moved(Struct): to: "


@pytest.mark.parametrize(
    "body",
    [
        EVENT + "Positive | tuple[int, int]",
        EVENT + "Optional[Annotated[str, Meta(max_length=3)] | tuple[()]]",
        EVENT + "list[dict[str, Positive | tuple[int, int]]]",
        "class Inner(Struct): to: Annotated[float, Meta(lt=3)] | tuple[int, int]\n    " + EVENT + "Inner",
        "class Old(Struct): to: Positive | tuple[int, int]\n    def up(old: Old): return {}\n"
        "    @event(version=2, upcasters={1: up})\n    class Moved(Struct): to: int",
        "Fold(1, lambda state, event: state, state_type=Positive | tuple[int, int], snapshot_every=1)",
    ],
)
def test_a_type_that_would_crash_the_process_is_refused(body: str) -> None:
    done = run(body)
    assert (done.returncode, done.stderr, done.stdout.splitlines()[-1]) == (0, "", "alive")
    assert "msgspec would crash by" in done.stdout


@pytest.mark.parametrize(
    "annotation",
    [
        "int | tuple[int, int]",
        "Positive | tuple[int, ...]",
        "Positive | Pair",
        "dict[str, Positive] | tuple[Positive, int]",
        "Annotated[int, Meta(title='to')] | tuple[int, int]",
    ],
)
def test_what_is_like_it_and_safe_is_taken(annotation: str) -> None:
    done = run(EVENT + annotation)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "alive\n")
