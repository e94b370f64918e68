"""Secrets come from the environment or from files, and show themselves only when asked to."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from infrastructure.errors import SettingsError
from infrastructure.secrets import MASK, Secret, SecretUrl, get_secret


def found(name: str, environ: dict[str, str], directory: Path) -> str | None:
    secret = get_secret(name, environ=environ, directory=directory)
    return secret.reveal() if secret else None


def test_the_environment_goes_before_the_named_file_and_this_before_the_mounted_one(tmp_path: Path) -> None:
    named, mounted = tmp_path / "named", tmp_path / "GITHUB_TOKEN"
    named.write_text("from-named")
    mounted.write_text("from-mounted")
    both = {"GITHUB_TOKEN": "from-environment", "GITHUB_TOKEN_FILE": str(named)}

    assert found("GITHUB_TOKEN", both, tmp_path) == "from-environment"
    assert found("GITHUB_TOKEN", both | {"GITHUB_TOKEN": ""}, tmp_path) == "from-named"
    assert found("GITHUB_TOKEN", {}, tmp_path) == "from-mounted"


def test_a_mounted_secret_may_be_named_in_lower_case(tmp_path: Path) -> None:
    (tmp_path / "github_token").write_text("hunter2")
    assert found("GITHUB_TOKEN", {}, tmp_path) == "hunter2"


def test_a_secret_that_is_nowhere_is_none(tmp_path: Path) -> None:
    assert found("GITHUB_TOKEN", {}, tmp_path) is None
    assert found("GITHUB_TOKEN", {}, tmp_path / "missing") is None


@pytest.mark.parametrize(
    ("content", "secret"),
    [("a\n", "a"), ("a\r\n", "a"), (" a b ", " a b "), ("a\n\n", "a\n"), ("é", "é"), ("\n", None)],
)
def test_only_the_last_line_end_of_a_file_is_left_out(tmp_path: Path, content: str, secret: str | None) -> None:
    (tmp_path / "TOKEN").write_bytes(content.encode())
    assert found("TOKEN", {}, tmp_path) == secret


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the file that TOKEN_FILE names does not exist"):
        found("TOKEN", {"TOKEN_FILE": str(tmp_path / "absent")}, tmp_path)


def test_a_file_that_is_not_text_is_an_error_without_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "TOKEN").write_bytes(b"hunter2\xff")
    with pytest.raises(SettingsError, match="is not UTF-8 text") as caught:
        found("TOKEN", {}, tmp_path)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "../TOKEN", "/etc/passwd", "..", "a/b", "a b", "a\n"])
def test_a_name_cannot_leave_the_folder_of_secrets(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="is not the name of a secret"):
        found(name, {}, tmp_path)


def test_a_secret_shows_itself_only_when_asked_to() -> None:
    secret = Secret("hunter2")
    for shown in (str(secret), repr(secret), f"{secret}", f"{secret!r:>40}", f"{secret:>40}", repr([secret])):
        assert "hunter2" not in shown
        assert MASK in shown
    assert secret.reveal() == "hunter2"


@pytest.mark.parametrize("encode", [json.dumps, msgspec.json.encode, vars])
def test_a_secret_is_not_written_out_by_accident(encode: Callable[[object], object]) -> None:
    with pytest.raises(TypeError):
        encode(Secret("hunter2"))


def test_secrets_compare_by_what_they_hold() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), SecretUrl("redis://a")}) == 2


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/1", "redis://localhost:6379/1"),
        ("redis://user:hunter2@host:6379/0", "redis://********@host:6379/0"),
        ("redis://:hunter2@host", "redis://********@host"),
        ("redis://hunter2@host", "redis://********@host"),
        ("redis://host?password=hunter2", "redis://host?********"),
        ("unix://user:hunter2@/run/redis.sock?db=1", "unix://********@/run/redis.sock?********"),
        ("redis://@host", "redis://********@host"),
    ],
)
def test_a_url_is_shown_without_user_password_and_query(url: str, shown: str) -> None:
    assert str(SecretUrl(url)) == shown
    assert repr(SecretUrl(url)) == f"SecretUrl({shown!r})"
    assert SecretUrl(url).reveal() == url


@pytest.mark.parametrize(
    "text",
    [
        "redis://:p@ss@host",
        "redis://:pa/ss@host",
        "redis://:pa?ss@host",
        "redis://:pa#ss@host",
        "redis://:pa ss@host",
        "host",
    ],
)
def test_a_url_whose_password_is_not_percent_encoded_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a URL$"):
        SecretUrl(text)
