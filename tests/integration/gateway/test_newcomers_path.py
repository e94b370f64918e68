"""What a newcomer is told to do, as it is written: README.md, docs/tutorial.md, programs of docs/how-to.md."""

import re
import shlex
import signal
import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.command import ROOT, Command, interrupt, wait_for_line, wait_until

README, TUTORIAL = (ROOT / "README.md").read_text(), (ROOT / "docs" / "tutorial.md").read_text()
HOW_TO = (ROOT / "docs" / "how-to.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def chapter(title: str) -> str:
    return TUTORIAL.split(f". {title}\n")[1].split("\n## ")[0]


def commands(text: str) -> Iterator[list[str]]:
    """Those of `eventstore` in the blocks of a text."""
    for line in "".join(blocks(text, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0].endswith("eventstore"):
            yield words[1:]


def python(here: Command, name: str, code: str) -> "subprocess.Popen[str]":
    (here.folder / name).write_text(code)
    return subprocess.Popen(
        [sys.executable, name],
        cwd=here.folder,
        env=here.environment | {"PYTHONUNBUFFERED": "1"},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run_tests_of(here: Command, file: str) -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
    done = subprocess.run(words, cwd=here.folder, env=here.environment, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout


def wait_until_paid(orders: "subprocess.Popen[str]", paid: dict[str, int]) -> None:
    """The streams of one partition come in order, partitions as they like."""
    while literal_eval(wait_for_line(orders, "{").rpartition(" ")[0]) != paid:
        continue


def types_in(here: Command, stream: str) -> list[str]:
    return [event["type"] for event in here.ok("read", stream, "--json").items]


@pytest.fixture
def here(embedded: Command) -> Command:
    """With the partitions that a log has by itself."""
    del embedded.environment["EVENTSTORE_PARTITIONS"]
    return embedded


def test_the_log_of_the_readme(here: Command) -> None:
    (code,) = [block for block in blocks(README, "python") if "async def main" in block]
    out, said = python(here, "order.py", code).communicate(timeout=60)
    assert "OrderPlaced(total=99)" in out, said
    assert "WrongExpectedVersion" in python(here, "order.py", code).communicate(timeout=60)[1]


def test_the_consumer_of_the_readme(here: Command) -> None:
    (code,) = [block for block in blocks(README, "python") if "@consumer" in block]
    (here.folder / "shop.py").write_text(code)
    run_tests_of(here, "shop.py")
    up = here.start("up", "--app", "shop")
    wait_for_line(up, "working for charge-cards")
    section = README.split("\n## Handle events\n")[1].split("\n## ")[0]
    for words in commands(section):
        here.ok(*words)
    wait_until(lambda: types_in(here, "order-42") == ["OrderPlaced", "PaymentTaken"])
    assert interrupt(up)[0] == 0


def test_the_saga_of_the_readme(here: Command) -> None:
    (code,) = [block for block in blocks(README, "python") if "Saga(" in block]
    (here.folder / "shipping.py").write_text(code)
    run_tests_of(here, "shipping.py")
    work = here.start("work", "--app", "shipping")
    wait_for_line(work, "stop it")
    *published, shown = commands(README.split("\n## See processes through\n")[1].split("\n## ")[0])
    for words in published:
        here.ok(*words)
    wait_until(lambda: "COMPLETED" in here.run(*shown).out)
    assert interrupt(work)[0] == 0


def test_the_read_model_of_the_readme(here: Command) -> None:
    (code,) = [block for block in blocks(README, "python") if "@projection" in block]
    (here.folder / "totals.py").write_text(code)
    run_tests_of(here, "totals.py")
    publish, *others = commands(README.split("\n## Read models\n")[1].split("\n## ")[0])
    here.ok(*publish)
    up = here.start("up", "--app", "totals")
    wait_for_line(up, "working for projection order-totals")
    wait_until(lambda: re.search(r"^order-totals +live ", here.ok("projections").out, re.MULTILINE) is not None)
    for words in others:
        here.ok(*words)
    assert interrupt(up)[0] == 0


def test_the_first_chapters_of_the_tutorial(here: Command) -> None:
    for words in commands(chapter("Publish and read")):
        here.ok(*words)
    before = TUTORIAL.split("\n## 6. ")[0]
    orders = python(here, "orders.py", "\n\n".join(blocks(before, "python")))
    wait_until_paid(orders, {"order-42": 99, "order-43": 5})
    for words in commands(chapter("Run it")):
        here.ok(*words)
    wait_until_paid(orders, {"order-42": 99, "order-43": 5, "order-44": 7})
    orders.kill()
    orders.communicate()


def test_the_chapter_on_consumers(here: Command) -> None:
    text = chapter("React to events")
    first, second, third, fourth = re.split(r"^\*\*(?=[A-Z])", text, flags=re.MULTILINE)
    (code,) = blocks(first, "python")
    (here.folder / "payments.py").write_text(code)
    run_tests_of(here, "payments.py")
    work = here.start("work", "--app", "payments")
    wait_for_line(work, "stop it")

    publish, *_ = commands(second)
    here.ok(*publish)
    wait_until(lambda: [group["retrying"] for group in here.ok("groups", "--json").items] == [1])
    (here.folder / "the-bank").touch()
    wait_for_line(work, "charged order-45 99")

    *letters, retry = commands(third)
    here.ok(*letters[0])
    here.ok(*letters[1])
    wait_until(lambda: [letter["waiting"] for letter in here.ok("dlq", "list", "--json").items] == [1])
    assert "order-46" in here.ok(*letters[2]).out
    assert "CardDeclined: 500 is the limit" in here.ok(*letters[3]).out
    assert interrupt(work)[0] == 0
    (here.folder / "payments.py").write_text(code.replace("500", "1000"))
    one, other = (here.start("work", "--app", "payments") for _ in range(2))
    here.ok(*retry)
    wait_until(lambda: types_in(here, "order-46").count("OrderPaid") == 2)

    (groups,) = commands(fourth)

    def shares() -> list[int]:
        return sorted(len(each["partitions"]) for each in here.ok(*groups, "--json").json["members"])

    wait_until(lambda: shares() == [8, 8])
    assert interrupt(one)[0] == interrupt(other)[0] == 0


def test_the_chapter_on_sagas(here: Command) -> None:
    text = chapter("See a process through")
    first, second, third = re.split(r"^\*\*(?=[A-Z])", text, flags=re.MULTILINE)
    beginning, one_step = blocks(first, "python")
    (rest,) = blocks(second, "python")
    (here.folder / "trips.py").write_text(f"{beginning}\n\n{one_step}")
    with working_for_trips(here) as work:
        _, publish, sagas, *shown = commands(first)
        here.ok(*publish)
        wait_for_line(work, "booked in Rome as saga-trip-1:room")
        wait_until(lambda: "completed" in here.ok(*sagas).out)
        assert all("trip-1" in here.ok(*words).out for words in shown)

    (here.folder / "trips.py").write_text(f"{beginning}\n\n{rest}")
    run_tests_of(here, "trips.py")
    with working_for_trips(here) as work:
        ask, pay, *_ = commands(second)
        here.ok(*ask)
        here.ok(*pay)
        wait_until(lambda: step_of(here, "saga-trip-2", "flight") == "retrying")
        (here.folder / "the-airline").touch()
        wait_until(lambda: types_in(here, "trip-2") == ["TripAsked", "DepositPaid", "TripBooked"])

    (here.folder / "trips.py").write_text(f"{beginning}\n\n{rest.replace('1m', '2s')}")
    with working_for_trips(here) as work:
        ask, cancel, later, _, listed, graph = commands(third)
        here.ok(*ask)
        here.ok(*cancel)
        wait_for_line(work, "cancelled room 217")
        here.ok(*later)
        wait_for_line(work, "cancelled room 217")
        wait_until(lambda: {each["id"] for each in here.ok(*listed, "--json").items} == {"saga-trip-3", "saga-trip-4"})
        assert "deposit" in here.ok(*graph).out


def test_the_chapter_on_read_models(here: Command) -> None:
    text = chapter("Keep a read model")
    first, second, third, fourth = re.split(r"^\*\*(?=[A-Z])", text, flags=re.MULTILINE)
    (code,) = blocks(first, "python")
    (here.folder / "totals.py").write_text(code)
    run_tests_of(here, "totals.py")
    _, publish, *looks = commands(first)
    here.ok("publish", "order-49", "OrderPlaced", '{"total": 99}')
    work = here.start("work", "--app", "totals")
    wait_for_line(work, "stop it")
    here.ok(*publish)
    wait_until(lambda: "live" in here.ok(*looks[0]).out)
    assert "order-totals" in here.ok(*looks[1]).out

    (place,) = blocks(second, "python")
    out, said = python(here, "place.py", place).communicate(timeout=60)
    assert sorted(out.splitlines()) == ["large 1 120", "small 2 129"], said

    rebuild, listed, *rest = commands(third)
    here.ok(*rebuild)
    assert [one["state"] for one in here.ok(*listed, "--json").json["generations"]] == ["kept", "live"]
    for words in (*rest, *commands(fourth)):
        here.ok(*words)
    assert (here.folder / "before.sqlite").exists()
    assert interrupt(work)[0] == 0


@contextmanager
def working_for_trips(here: Command) -> Iterator["subprocess.Popen[str]"]:
    work = here.start("work", "--app", "trips")
    wait_for_line(work, "stop it")
    yield work
    assert interrupt(work)[0] == 0


def step_of(here: Command, saga: str, step: str) -> str:
    """Nothing while there is no such saga, or step."""
    found = here.run("sagas", "show", saga, "--json")
    steps = found.json["steps"] if found.code == 0 else []
    return next((str(each["status"]) for each in steps if each["name"] == step), "")


@pytest.mark.parametrize("code", [block for block in blocks(HOW_TO, "python") if "def test_" in block])
def test_a_test_of_the_how_to(here: Command, code: str) -> None:
    (here.folder / "shown.py").write_text(code)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "shown.py"]
    done = subprocess.run(words, cwd=here.folder, env=here.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{code.count('def test_')} passed" in done.stdout


def test_a_saga_of_the_how_to_is_begun_by_a_program(here: Command) -> None:
    code = blocks(HOW_TO, "python")
    (steps,) = [block for block in code if "def pack(" in block]
    (begin,) = [block for block in code if "await start(" in block]
    imports, calls = begin.split("\n\n", 1)
    body = "".join(f"        {line}\n" for line in calls.splitlines())
    program = f"{steps}\nimport anyio\nfrom eventstore import EventStore\n{imports}\n"
    program += f"async def main():\n    async with EventStore.open() as store:\n{body}\nanyio.run(main)\n"
    running = python(here, "purchases.py", program)
    assert wait_for_line(running, "saga-").split() == ["saga-purchase-7", "True", "running"]
    wait_until(lambda: "COMPENSATED" in here.ok("sagas", "show", "saga-purchase-7").out)
    assert interrupt(running)[0] != 0


def test_a_read_model_of_the_how_to_is_queried(here: Command) -> None:
    (code,) = [block for block in blocks(HOW_TO, "python") if "await query(" in block]
    out, said = python(here, "sums.py", code).communicate(timeout=60)
    printed = [line for line in out.splitlines() if line.startswith("[")]  # the log's lines begin with a time
    assert printed == ["[{'stream': 'order-1', 'total': 5}]", "[]"], said


def test_a_program_that_runs_consumers_ends_well_on_sigterm(here: Command) -> None:
    (code,) = [block for block in blocks(HOW_TO, "python") if "open_signal_receiver" in block]
    here.ok("publish", "order-1", "OrderPlaced", '{"total": 1}')
    program = python(here, "takings.py", code)
    wait_for_line(program, "takings 1\n")
    here.ok("publish", "order-1", "OrderPlaced", '{"total": 2}')
    wait_for_line(program, "takings 3\n")
    assert interrupt(program, signal.SIGTERM)[0] == 0
    group = here.ok("groups", "takings", "--json").json
    assert (group["state"], group["lag"], group["members"]) == ("idle", 0, [])
    assert [each["owner"] for each in group["partitions"] if each["owner"] is not None] == []
