"""What tests of settings share."""

from pathlib import Path

import pytest


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, without a config/app.yaml."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
