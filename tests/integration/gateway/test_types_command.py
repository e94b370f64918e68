"""types, types write, types check: what a release may do to its events, found before it is deployed."""

import json
from pathlib import Path

import pytest

from tests.support.command import ROOT, Command

SHOP = """\
from msgspec import Struct
from eventstore import event


@event(name="order.placed", version=2, upcasters={1: lambda old: old}, formerly=("order.created",))
class OrderPlaced(Struct, frozen=True):
    total: int


class OrderPaid(Struct, frozen=True):
    total: int
    note: str = ""


class _Private(Struct, frozen=True):
    total: int
"""


@pytest.fixture
def cli(tmp_path: Path) -> Command:
    """In a folder with a module of events. No server: these commands need none."""
    command = Command(tmp_path)
    release(command, SHOP)
    return command


def release(command: Command, code: str) -> None:
    (command.folder / "shop.py").write_text(code)


def test_types_of_a_module_are_listed(cli: Command) -> None:
    paid, placed = cli.ok("types", "--app", "shop", "--json").items
    assert (paid["type"], paid["schema_version"], paid["upcasts_from"], paid["formerly"]) == ("OrderPaid", 1, [], [])
    assert (placed["type"], placed["schema_version"], placed["upcasts_from"]) == ("order.placed", 2, [1])
    assert placed["formerly"] == ["order.created"]
    assert paid["fields"] == {"total": "int", "note": 'str = ""'}
    assert placed["json_schema"]["$defs"]["OrderPlaced"]["properties"] == {"total": {"type": "integer"}}
    shown = cli.ok("types", "--app", "shop").out.splitlines()
    assert shown[0].split() == ["TYPE", "VERSION", "UPCASTS", "FROM", "FORMERLY", "FIELDS"]
    assert shown[1].split()[-5:] == ["total:", "int,", "note:", "str", "=", '""'][-5:]


def test_a_catalogue_of_the_code_as_it_is_finds_nothing(cli: Command) -> None:
    assert cli.ok("types", "write", "types.json", "--app", "shop").out.endswith("2 types in types.json\n")
    done = cli.ok("types", "check", "types.json", "--app", "shop", "--exact")
    assert (done.out, done.err) == ("ok    2 types: what is stored stays readable\n", "")
    assert cli.ok("types", "check", "types.json", "--app", "shop", "--json").out == ""
    written = (cli.folder / "types.json").read_text()
    cli.ok("types", "write", "types.json", "--app", "shop")
    assert (cli.folder / "types.json").read_text() == written


def test_a_change_that_breaks_fails_with_its_remedy_and_is_not_written(cli: Command) -> None:
    cli.ok("types", "write", "types.json", "--app", "shop")
    listed = (cli.folder / "types.json").read_text()
    release(cli, SHOP.replace('note: str = ""', "rebate: int"))
    done = cli.run("types", "check", "types.json", "--app", "shop")
    assert done.code == 1
    assert done.out == (
        "FAIL  OrderPaid.note: field-removed: what is stored in it would be passed over\n"
        "      hint: raise the version: @event(version=2, upcasters={..., 1: from_old_data})\n"
        "FAIL  OrderPaid.rebate: field-required: it has no default, and stored events lack it\n"
        "      hint: give it a default, or raise the version: @event(version=2, upcasters={..., 1: from_old_data})\n"
    )
    assert [each["rule"] for each in cli.run("types", "check", "types.json", "--app", "shop", "--json").items] == [
        "field-removed",
        "field-required",
    ]
    refused = cli.run("types", "write", "types.json", "--app", "shop")
    assert refused.code == 1
    assert "types.json was not touched" in refused.err
    assert (cli.folder / "types.json").read_text() == listed
    cli.ok("types", "write", "types.json", "--app", "shop", "--breaking")
    cli.ok("types", "check", "types.json", "--app", "shop", "--exact")


def test_the_remedy_is_one(cli: Command) -> None:
    cli.ok("types", "write", "types.json", "--app", "shop")
    mended = SHOP.replace(
        "class OrderPaid", "@event(version=2, upcasters={1: lambda old: {**old, 'rebate': 0}})\nclass OrderPaid"
    )
    release(cli, mended.replace('note: str = ""', "rebate: int"))
    done = cli.ok("types", "check", "types.json", "--app", "shop")
    assert done.out.splitlines() == [
        "note  OrderPaid: version-raised: 1 became 2, with upcasters",
        "ok    2 types: what is stored stays readable",
    ]


def test_what_is_compatible_is_noted_and_the_file_is_told_to_be_old(cli: Command) -> None:
    cli.ok("types", "write", "types.json", "--app", "shop")
    release(
        cli,
        SHOP.replace("    note", "    by: str | None = None\n    note")
        + "\n\nclass Refunded(Struct):\n    total: int\n",
    )
    done = cli.ok("types", "check", "types.json", "--app", "shop")
    assert done.out.splitlines()[:2] == [
        "note  OrderPaid.by: field-added: str | None, with a default",
        "note  Refunded: type-added: version 1",
    ]
    assert done.err == "types.json is not of this code: eventstore types write types.json --app shop\n"
    assert cli.run("types", "check", "types.json", "--app", "shop", "--exact").code == 1


def test_the_catalogue_of_an_older_release_comes_from_stdin(cli: Command) -> None:
    cli.ok("types", "write", "types.json", "--app", "shop")
    older = (cli.folder / "types.json").read_bytes()
    release(cli, SHOP + "\n\nclass Refunded(Struct, frozen=True):\n    total: int\n")
    assert cli.ok("types", "check", "-", "--app", "shop", stdin=older).err == ""
    release(cli, SHOP[: SHOP.index("class OrderPaid")])
    done = cli.run("types", "check", "-", "--app", "shop", stdin=older)
    assert done.code == 1
    assert done.out.startswith("FAIL  OrderPaid: type-removed: version 1 was listed\n      hint: keep its Struct ")


@pytest.mark.parametrize("text", ["", "{}", "<<<<<<< HEAD"])
def test_another_file_is_wrong_usage(cli: Command, text: str) -> None:
    (cli.folder / "types.json").write_text(text)
    for command in ("check", "write"):
        done = cli.run("types", command, "types.json", "--app", "shop", "--json")
        assert done.code == 2
        assert done.problem["field"] == "FILE"
        assert "remove it, and write it anew" in done.problem["remedy"]


def test_a_folder_is_no_file_and_a_link_stays_one(cli: Command) -> None:
    done = cli.run("types", "write", ".", "--app", "shop")
    assert (done.code, done.err.splitlines()[0]) == (2, "error: bad-request: . cannot be read: Is a directory")
    (cli.folder / "link.json").symlink_to("types.json")
    cli.ok("types", "write", "link.json", "--app", "shop")
    release(cli, SHOP + "    more: int = 0\n" + "\nclass Refunded(Struct, frozen=True): total: int\n")
    cli.ok("types", "write", "link.json", "--app", "shop")
    assert (cli.folder / "link.json").is_symlink()
    cli.ok("types", "check", "types.json", "--app", "shop", "--exact")


def test_a_module_that_exits_while_it_is_imported_passes_no_check(cli: Command) -> None:
    cli.ok("types", "write", "types.json", "--app", "shop")
    release(cli, "import sys\nsys.exit(0)\n")
    done = cli.run("types", "check", "types.json", "--app", "shop")
    assert (done.code, done.out) == (2, "")
    assert "module shop cannot be imported: SystemExit: 0" in done.err


BAD_NAME = "from eventstore import event\nfrom msgspec import Struct\n@event(name='a b')\nclass A(Struct): pass\n"


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (BAD_NAME, "use letters, digits, _ . and -"),
        ("import no_such_module\n", "see where: the same with --verbose"),
    ],
)
def test_what_is_wrong_within_a_module_is_not_blamed_on_its_name(cli: Command, code: str, hint: str) -> None:
    release(cli, code)
    assert f"hint:  {hint}\n" in cli.run("types", "--app", "shop").err


def test_a_file_that_is_not_there_is_to_be_written_first(cli: Command) -> None:
    done = cli.run("types", "check", "types.json", "--app", "shop")
    assert done.code == 2
    assert "hint:  write it first: eventstore types write types.json --app shop\n" in done.err


def test_types_that_contradict_each_other_are_named(cli: Command) -> None:
    release(cli, SHOP.replace("upcasters={1: lambda old: old}, ", ""))
    done = cli.run("types", "--app", "shop")
    assert done.code == 2
    assert "order.placed version 2: its chain of upcasters: 1 to 2 is missing" in done.err


def test_the_reference_application_keeps_its_catalogue() -> None:
    """What CI of an application does; `types write` with the same arguments brings the file up to date."""
    arguments = ["examples/docs_consistency/event-types.json", "--app", "examples.docs_consistency.events"]
    done = Command(ROOT).run("types", "check", *arguments, "--exact")
    assert (done.code, done.err) == (0, ""), done.out
    listed = json.loads((ROOT / arguments[0]).read_text())
    documents = ["DocumentAdded", "DocumentChanged", "DocumentRemoved"]
    sources = ["SourceAnalysed", "SourceReported", "SourceStored", "SourceWithdrawn"]
    assert [each["name"] for each in listed["types"]] == documents + sources
