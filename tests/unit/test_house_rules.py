"""The house's rules that a machine can check (CONTRIBUTING.md tells why we have them)."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_MOST_LINES = 400
_PACKAGES = ("infrastructure", "eventstore", "consumers", "projections", "gateway", "examples")

# Where packages are had from is the business of each machine's own settings.
_REGISTRY = re.compile(
    r"pypi\.[a-z]|pythonhosted\.|npmjs\.|\.jfrog\.|-(?:docker|python|npm)\.pkg\.dev|https?://[^/\s]*/simple\b"
)
_PLACE_OF_A_MACHINE = re.compile(r"(?<![\w./])/(?:home|Users|root|work|mnt|opt)/[\w.-]")
_SLEEP = re.compile(r"\bsleep\((?!0\))")


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=_ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip(f"not applicable: this is no Git checkout ({listed.stderr.strip()})", allow_module_level=True)
    paths = (_ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


_TRACKED = _tracked()
_OURS = [path for path in _TRACKED if path.relative_to(_ROOT).parts[0] in _PACKAGES]


def _lines(paths: list[Path]) -> Iterator[tuple[str, str]]:
    """Where each line is, and the line."""
    for path in paths:
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
            yield f"{path.relative_to(_ROOT)}:{number}", line


def _named(paths: list[Path], suffix: str) -> list[Path]:
    return [path for path in paths if path.name.endswith(suffix)]


def test_every_folder_that_we_name_exists() -> None:
    layout = (_ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = re.findall(r"^ {4}([a-z_/]+)/  ", layout, re.MULTILINE)
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert len(named) > 8
    assert [folder for folder in [*named, *shipped] if not (_ROOT / folder).is_dir()] == []


def test_no_file_names_a_package_registry() -> None:
    assert [f"{where}: {line}" for where, line in _lines(_TRACKED) if _REGISTRY.search(line)] == []


def test_no_file_names_a_place_of_one_machine() -> None:
    assert [f"{where}: {line}" for where, line in _lines(_TRACKED) if _PLACE_OF_A_MACHINE.search(line)] == []


@pytest.mark.parametrize("path", _named(_OURS, "__init__.py"), ids=lambda path: str(path.relative_to(_ROOT)))
def test_the_door_of_a_package_imports_and_names_and_defines_nothing(path: Path) -> None:
    statements = ast.parse(path.read_text("utf-8")).body
    assert [ast.unparse(statement) for statement in statements if not _belongs_in_a_door(statement)] == []


def _belongs_in_a_door(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return all(_belongs_in_a_door(inner) for inner in statement.body)
    return False


@pytest.mark.parametrize("path", _named(_OURS, ".lua"), ids=lambda path: path.name)
def test_a_script_begins_with_its_contract(path: Path) -> None:
    header = "\n".join(_comments_at_the_top(path.read_text("utf-8")))
    assert [word for word in ("KEYS", "ARGV", "returns", "errors") if word not in header] == []


def _comments_at_the_top(source: str) -> Iterator[str]:
    for line in source.splitlines():
        if line and not line.startswith("--"):
            return
        yield line


def test_no_file_of_the_packages_is_too_long_for_one_subject() -> None:
    counted = {path: path.read_text("utf-8").count("\n") for path in _named(_OURS, ".py") + _named(_OURS, ".lua")}
    assert {str(path): lines for path, lines in counted.items() if lines > _MOST_LINES} == {}


def test_no_test_sleeps() -> None:
    # tests/support holds the waits for a condition that another process makes true: they alone may pause
    waits = _ROOT / "tests" / "support"
    tests = [path for path in _named(_TRACKED, ".py") if _ROOT / "tests" in path.parents and waits not in path.parents]
    assert [f"{where}: {line}" for where, line in _lines(tests) if _SLEEP.search(line)] == []
