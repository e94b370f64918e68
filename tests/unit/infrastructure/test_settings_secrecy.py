"""A secret never shows, wherever it was given, right or wrong."""

import json
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.errors import SettingsError
from infrastructure.secrets import Secret, SecretUrl
from infrastructure.settings import RedisSettings, effective, load_settings
from infrastructure.settings_schema import SCHEMA

MARK = "hunter2"
secret_texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12).map(MARK.__add__)
ways = st.sampled_from(
    ["option", "environment", "named file", "given as its file", "mounted", "file", "bare in file", "bare in list"]
)
secret_keys = st.sampled_from(
    ["redis.password", "redis.sentinel_password", "postgres.password", "redis.url", "url with password"]
)
other_mistakes = st.sampled_from([{}, {"REDIS_PORT": "wrong"}, {"LOG_LEVEL": "wrong"}])


@hypothesis.settings(deadline=None)  # it writes files
@given(secret_texts, ways, secret_keys, other_mistakes)
def test_a_secret_never_shows(secret: str, way: str, key: str, environ: dict[str, str]) -> None:
    """Neither in settings, nor in what is effective, nor in an error and its traceback; however it was given."""
    text, key = (f"redis://user:{secret}@host", "redis.url") if key == "url with password" else (secret, key)
    with TemporaryDirectory() as folder:
        options, variables, file = given_by(way, key, text, Path(folder))
        shown = ""
        try:
            shown += repr(settings := load_settings(environ | variables, file, options, secrets_dir=Path(folder)))
            shown += f"{settings} {settings.redis} {settings.redis.url} {settings.redis.password!r}"
            shown += f"{settings.redis.sentinel_password!r}"
            shown += str(effective(environ | variables, file, options, secrets_dir=Path(folder)))
        except SettingsError as error:
            shown += "".join(traceback.format_exception(error)) + f"{error.facts} {error.remedy} {error.field}"
    assert MARK not in shown


def given_by(way: str, key: str, text: str, folder: Path) -> tuple[dict[str, object], dict[str, str], Path | None]:
    section, name = key.split(".")
    env = SCHEMA[key].env
    path = folder / (env if way == "mounted" else "given")
    contents = {
        "file": json.dumps({section: {name: text}}),
        "bare in file": f"{section}:\n  {name}: {text}\n",
        "bare in list": f"{section}:\n  {name}: [{text}]\n",
    }
    path.write_text(contents.get(way, text), "utf-8")
    options: dict[str, object] = {key: text} if way == "option" else {}
    variables = {
        "environment": {env: text},
        "named file": {f"{env}_FILE": str(path)},
        "given as its file": {f"{env}_FILE": text},
    }.get(way, {})
    return options, variables, path if way in contents else None


def test_redis_settings_made_by_hand_mask_too() -> None:
    redis = RedisSettings(url=SecretUrl("redis://:hunter2@h"), password=Secret("hunter2"))
    assert "hunter2" not in repr(redis)


@pytest.mark.parametrize("env", ["REDIS_HOST", "REDIS_PORT", "DOC_STORE_URL", "POSTGRES_HOST", "PROMETHEUS_GATEWAY"])
@pytest.mark.parametrize("url", ["https://u:hunter2@h", "https://h?key=hunter2"])
def test_a_password_in_a_url_of_the_wrong_key_is_not_shown(env: str, url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({env: url})
    assert "hunter2" not in str(caught.value)
