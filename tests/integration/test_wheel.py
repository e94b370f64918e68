"""The wheel that users install: all of the packages and nothing else, and it runs where nothing of the checkout is."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("infrastructure", "eventstore", "consumers", "projections", "gateway")
SECONDS = 100.0
_OFFLINE = ("No matching distribution found", "Could not fetch", "NewConnectionError", "ConnectTimeoutError")

# Each module of the wheel, imported by an interpreter that has only the installed files.
_IMPORT_ALL = """
import importlib, json, sys
print(json.dumps({name: importlib.import_module(name).__file__ for name in sys.argv[1:]}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as for a release: the source archive from the checkout, the wheel from the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)], folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> "Environment":
    folder = tmp_path_factory.mktemp("elsewhere")
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], folder)
    return Environment(folder)


class Environment:
    """A Python environment outside of the checkout, and the folder in which its commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "env" / "bin"

    def install(self, requirement: str) -> None:
        """As a user does, with the versions that this project is tested with."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "--quiet"]
        chosen = ["--disable-pip-version-check", "--constraint", str(ROOT / "constraints.txt"), requirement]
        done = subprocess.run(
            [*pip, *chosen], cwd=self.folder, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if done.returncode and any(sign in done.stderr for sign in _OFFLINE):
            pytest.skip(f"no package index answers: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr

    def run(self, *words: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """A command of the environment, with no other programs in reach."""
        done = subprocess.run(
            [str(self.bin / words[0]), *words[1:]],
            cwd=self.folder,
            env={"PATH": str(self.bin), "LC_ALL": "C.UTF-8", "TMPDIR": os.environ.get("TMPDIR", "/tmp")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(wheel: Path) -> None:
    packed = _files(wheel)
    assert sorted(name for name in packed if ".dist-info" not in PurePosixPath(name).parts[0]) == _files_of_packages()
    kinds = {PurePosixPath(name).suffix or PurePosixPath(name).name for name in _files_of_packages()}
    assert kinds == {".py", ".lua", ".typed"}
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(packed)


def test_without_extras_every_part_of_the_library_imports_and_the_command_says_what_it_lacks(
    wheel: Path, empty: Environment
) -> None:
    empty.install(str(wheel))
    library = [name for name in _modules(wheel) if name.startswith(("infrastructure", "eventstore", "consumers"))]
    _imports_from_the_environment(empty, library)
    assert "pip install 'redis-eventstore[cli" in empty.run("eventstore", "log", code=2).stderr


def test_with_its_extras_the_wheel_runs_where_nothing_else_is_installed(wheel: Path, empty: Environment) -> None:
    empty.install(f"{wheel}[all]")
    _imports_from_the_environment(empty, _modules(wheel))
    published = json.loads(empty.run("eventstore", "publish", "order-42", "Placed", '{"total": 99}', "--json").stdout)
    assert (published["stream"], published["version"]) == ("order-42", 1)
    event = json.loads(empty.run("eventstore", "read", "order-42", "--json").stdout)
    assert (event["type"], event["data"], event["id"]) == ("Placed", {"total": 99}, published["ids"][0])
    assert "Valkey" in empty.run("eventstore", "doctor").stdout
    (empty.folder / "handled.py").write_text(_HANDLE_ONE)
    assert "handled Placed\n" in empty.run("python", "handled.py").stdout
    assert empty.run("eventstore", "verify").stdout.startswith("ok    1 event")


_HANDLE_ONE = """
import anyio
from consumers import Resource, consumer, run
from eventstore import EventStore, RecordedEvent

@consumer("one")
async def handle(event: RecordedEvent, stop: anyio.Event) -> None:
    print("handled", event.type)
    stop.set()

async def main() -> None:
    stop = anyio.Event()
    async with EventStore.open() as store:
        await run(store, [handle], resources=[Resource(anyio.Event, lambda: stop)], stop=stop)

anyio.run(main)
"""


def _imports_from_the_environment(empty: Environment, modules: Sequence[str]) -> None:
    files: dict[str, str] = json.loads(empty.run("python", "-I", "-c", _IMPORT_ALL, *modules).stdout)
    assert len(files) == len(modules) > 20
    assert [file for file in files.values() if not Path(file).is_relative_to(empty.folder)] == []


def _files(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as packed:
        return packed.namelist()


def _modules(wheel: Path) -> list[str]:
    """All but those that run as they are imported."""
    paths = [PurePosixPath(name) for name in _files(wheel) if name.endswith(".py")]
    return [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths if path.stem != "__main__"]


def _files_of_packages() -> list[str]:
    """What Git has, or would take: a file that is written just now is built too."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PACKAGES]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip(f"not applicable: this is no Git checkout ({listed.stderr.strip()})")
    return sorted(name for name in set(listed.stdout.split("\0")) if name and (ROOT / name).is_file())


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
