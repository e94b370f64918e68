"""A settings file for a test."""

from pathlib import Path


def written(text: str) -> Path:
    """`app.yaml` in the working directory, which holds the text."""
    path = Path("app.yaml")
    path.write_text(text, "utf-8")
    return path
