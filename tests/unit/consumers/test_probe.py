"""The probe of groups knows of every command that a script of theirs runs and the log's own probe does not try, but for
what only those call who look at groups."""

import re
from importlib.resources import files

_CALLED = re.compile(r"\bp?call\(\s*'([A-Z]+)'")
_IN_CHUNKS = re.compile(r"\bin_chunks\('([A-Z]+)'")
_EFFECT = re.compile(r"\b([A-Z]+) = '(?:hash|set|zset|string|list|any)'")
_TRIED = re.compile(r"\btry\('([A-Z]+)'")

_OF_ONLOOKERS = {"stored_group.lua"}


def _scripts(package: str) -> dict[str, str]:
    folder = files(package).joinpath("scripts")
    return {each.name: each.read_text("utf-8") for each in folder.iterdir() if each.name.endswith(".lua")}


def test_each_command_of_a_script_is_tried_before_a_group_is_made() -> None:
    ours = {name: text for name, text in _scripts("consumers").items() if name not in _OF_ONLOOKERS}
    called = {
        name for text in ours.values() for found in (_CALLED, _IN_CHUNKS, _EFFECT) for name in found.findall(text)
    }
    assert {"ZADD", "XCLAIM", "HINCRBY", "RPUSH"} <= called
    tried = {*_TRIED.findall(ours["probe.lua"]), *_TRIED.findall(_scripts("eventstore")["probe.lua"])}
    assert called - tried == set()
