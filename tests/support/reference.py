"""The users of docs/reference.md, as the shell commands there make them."""

import re
import shlex

from tests.support.command import ROOT


def rights_of(user: str, *, waitaof: bool) -> list[str]:
    """The rules of ACL SETUSER for a server with or without WAITAOF."""
    blocks = [_rules(line) for line in _commands(f"redis-cli ACL SETUSER {user} ")]
    return [rule for block in blocks for rule in block if rule != "+waitaof" or waitaof]


def commands_of(user: str, *, waitaof: bool) -> list[str]:
    """The commands that those rules allow, without their `+`."""
    return [rule[1:] for rule in rights_of(user, waitaof=waitaof) if rule.startswith("+")]


def _rules(command: str) -> list[str]:
    return shlex.split(command, comments=True)[4:]


def _commands(beginning: str) -> list[str]:
    text = (ROOT / "docs" / "reference.md").read_text("utf-8")
    found = re.findall(rf"^({re.escape(beginning)}(?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert found, beginning
    return [each.replace("\\\n", " ") for each in found]
