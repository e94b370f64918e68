"""docs/reference.md leaves nothing out."""

from pathlib import Path

import pytest

import consumers
import consumers.errors
import eventstore.errors
import projections
import projections.errors
from gateway.cli.commands import COMMANDS, Command
from infrastructure.settings_schema import SCHEMA, Setting

REFERENCE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text("utf-8")


@pytest.mark.parametrize("setting", SCHEMA.values(), ids=SCHEMA)
def test_a_setting_stands_with_its_environment_name_and_what_it_accepts(setting: Setting) -> None:
    secret = " *" if setting.kind.secret else ""
    assert f"| `{setting.key}`{secret} | `{setting.env}` |" in REFERENCE
    assert f"| {setting.kind.expects} |" in REFERENCE


_ERRORS = {
    name: getattr(errors, name)
    for errors in (eventstore.errors, consumers.errors, projections.errors)
    for name in errors.__all__
    if name != "EventStoreError"
}


@pytest.mark.parametrize("name", _ERRORS)
def test_an_error_stands_with_its_code(name: str) -> None:
    assert f"| `{name}` | `{_ERRORS[name].code}` |" in REFERENCE


@pytest.mark.parametrize("name", consumers.__all__)
def test_a_name_of_the_consumers_door_stands_there(name: str) -> None:
    assert f"`{name}`" in REFERENCE or f"`{name}(" in REFERENCE


@pytest.mark.parametrize("name", projections.__all__)
def test_a_name_of_the_projections_door_stands_there(name: str) -> None:
    assert f"`{name}`" in REFERENCE or f"`{name}(" in REFERENCE


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_stands_with_what_it_does(command: Command) -> None:
    assert f"| `{command.name}` | {command.help} |" in REFERENCE
