import pytest

from eventstore.names import stream_name
from examples.docs_consistency.paths import path_text, raw_path, stream_of


@pytest.mark.parametrize("path", ["README.md", "docs/naïve café.md", "cafe\u0301.md", "a b/c%20d.md", "{x}.md", "-.md"])
def test_a_path_is_kept_byte_for_byte(path: str) -> None:
    assert path_text(path.encode()) == path
    assert stream_of(path) == f"document-{path}"


@pytest.mark.parametrize(
    "raw", [b"caf\xe9.md", b"a/\xff\xfe", b"new\nline.md", b"esc\x1b[31m.md", b"c1\xc2\x85.md", b"x" * 4000]
)
def test_any_name_git_allows_becomes_a_stream_and_comes_back(raw: bytes) -> None:
    text = path_text(raw)
    assert raw_path(text) == raw
    assert stream_name(stream_of(text)).startswith("document-/")


def test_two_paths_never_share_a_stream() -> None:
    raws = [b"a\n.md", b"a%0A.md", b"a\xe9.md", b"a%E9.md", b"x" * 600, b"x" * 601, b"%2Fa", b"a"]
    assert len({stream_of(path_text(raw)) for raw in raws}) == len(raws)
