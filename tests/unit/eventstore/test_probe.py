"""The probe of a start knows of every command that a script of ours runs: one that it left out would stop it midway."""

import re
from importlib.resources import files

_CALLED = re.compile(r"\bp?call\(\s*'([A-Z]+)'")
_CHOSEN = re.compile(r"\band '([A-Z]+)' or '([A-Z]+)'")


def test_each_command_of_a_script_is_tried_at_start() -> None:
    scripts = [each for each in files("eventstore").joinpath("scripts").iterdir() if each.name.endswith(".lua")]
    called = {name for script in scripts for name in _CALLED.findall(script.read_text("utf-8"))}
    called |= {name for script in scripts for pair in _CHOSEN.findall(script.read_text("utf-8")) for name in pair}
    assert len(called) > 12
    probe = files("eventstore").joinpath("scripts", "probe.lua").read_text("utf-8")
    assert called - set(re.findall(r"\btry\('([A-Z]+)'", probe)) == set()
