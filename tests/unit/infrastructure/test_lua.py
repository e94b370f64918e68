"""Scripts are package data: they load from a folder and from a zip archive, such as a wheel."""

import sys
import zipfile
from pathlib import Path

import pytest

from infrastructure.lua import load

SOURCE = "-- é\nreturn 1\n"


@pytest.mark.parametrize("packed", [False, True])
def test_a_script_loads_from_a_folder_and_from_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    package = f"scripted_{packed}".lower()
    root = tmp_path / "archive.zip" if packed else tmp_path
    for name, text in {f"{package}/__init__.py": "", f"{package}/scripts/one.lua": SOURCE}.items():
        _write(root, name, text)
    monkeypatch.syspath_prepend(root)
    script = load(package, "one")
    assert (script.name, script.source) == ("one", SOURCE)
    assert script.sha == "afbd496f9487af426f3aa15fa904b0c4793ca466"
    assert load(package, "one") is script, "read once"
    sys.modules.pop(package)


def test_a_script_includes_files_of_its_own_folder_and_of_another_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "scripted_above/scripts/one.lua": "-- include scripted_below/all.lua\n-- include two.lua\nreturn 1\n",
        "scripted_above/scripts/two.lua": "local two\n",
        "scripted_below/scripts/all.lua": "-- include two.lua\n",
        "scripted_below/scripts/two.lua": "local below\n",
    }.items():
        _write(tmp_path, name, text)
    for package in ("scripted_above", "scripted_below"):
        _write(tmp_path, f"{package}/__init__.py", "")
    monkeypatch.syspath_prepend(tmp_path)
    lines = load("scripted_above", "one").source.split("\n")
    assert [line for line in lines if line] == ["local below", "local two", "return 1"]
    for package in ("scripted_above", "scripted_below"):
        sys.modules.pop(package, None)


def test_a_script_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError, match="none"):
        load("infrastructure", "none")


def _write(root: Path, name: str, text: str) -> None:
    if root.suffix == ".zip":
        with zipfile.ZipFile(root, "a") as archive:
            archive.writestr(name, text)
    else:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
