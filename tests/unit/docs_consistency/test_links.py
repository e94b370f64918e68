import pytest

from examples.docs_consistency.checks import Checked, Finding, check_links, is_markdown, outline_of
from examples.docs_consistency.source import FileState


def check(documents: dict[str, str], others: tuple[str, ...] = (), part: str = "", **modes: str) -> Checked:
    files = {path: FileState("0" * 40, "100644") for path in (*documents, *others)}
    files |= {path.replace("__", "/"): FileState("0" * 40, mode) for path, mode in modes.items()}
    outlines = {path: outline_of(text.encode()) for path, text in documents.items()}
    return check_links(outlines, files, part)


def findings(documents: dict[str, str], *others: str, **modes: str) -> list[tuple[str, str]]:
    return [(found.target, found.kind) for found in check(documents, others, **modes).findings]


def test_anchors_follow_githubs_rule() -> None:
    page = "## Fleet — operator\n\n## A / B\n\n# Estimator (MLE)\n\n## Details\n\n## Details\n\n## Details\n"
    right = ["fleet--operator", "a--b", "estimator-mle", "details", "details-1", "details-2", "", "top"]
    wrong = ["fleet-operator", "details-3", "details_1", "Details", "a-b"]
    for document, prefix in (("page.md", ""), ("docs/other.md", "../page.md")):
        text = "\n".join(f"[x]({prefix}#{anchor})" for anchor in right + wrong)
        documents = {"page.md": page, document: text} if prefix else {"page.md": page + "\n" + text}
        assert findings(documents) == [(f"{prefix}#{anchor}", "missing-anchor") for anchor in wrong]


def test_relative_links_start_from_the_documents_folder() -> None:
    text = "[a](b.md) [b](./b.md) [c](sub/c.md) [d](../top.md) [e](../docs/b.md) [f](c.md) [g](b.md/)"
    assert findings({"docs/a.md": text, "docs/b.md": "", "docs/sub/c.md": "", "top.md": ""}) == [
        ("c.md", "missing-file"),
        ("b.md/", "missing-file"),
    ]


def test_a_link_from_the_root_is_checked_and_never_leaves_it() -> None:
    text = "[r](/docs/b.md) [s](/docs/gone.md) [t](/../../b.md) [u](/../../docs/b.md) [v](/)"
    assert findings({"docs/a.md": text, "docs/b.md": ""}) == [
        ("/docs/gone.md", "missing-file"),
        ("/../../b.md", "missing-file"),
    ]
    assert findings({"docs/a.md": text, "docs/b.md": "", "b.md": "", "docs/gone.md": ""}) == []


@pytest.mark.parametrize("target", ["../../x.md", "../../repo/docs/a.md", "../..", "%2e%2e/../x.md"])
def test_a_link_above_the_root_leaves_the_checkout(target: str) -> None:
    assert findings({"docs/a.md": f"[x]({target})"}, "x.md") == [(target, "leaves-root")]


def test_other_schemes_are_counted_and_not_followed() -> None:
    text = "[a](https://a.example/gone.md) <mailto:a@b.example> [c](//host/x) [d](tel:1) https://auto.example [e](e.md)"
    checked = check({"a.md": text, "e.md": ""})
    assert (checked.links, checked.external, checked.findings) == (6, 5, ())


def test_percent_encoding_and_unicode_name_the_same_file() -> None:
    text = (
        "[a](<naïve café.md>) [b](na%C3%AFve%20caf%C3%A9.md) [c](100%.md) [d](100%25.md) [e](what%3F.md) [f](what?.md)"
    )
    assert findings({"a.md": text}, "naïve café.md", "100%.md", "what?.md") == [("what?.md", "missing-file")]


def test_names_that_are_no_utf8_can_be_linked() -> None:
    assert findings({"a.md": "[x](caf%E9.md) [y](caf%E8.md)"}, "/caf%E9.md") == [("caf%E8.md", "missing-file")]


def test_a_folder_is_right_if_any_file_lives_beneath() -> None:
    text = "[a](sub) [b](sub/) [c](sub/deep/) [d](empty/) [e](.) [f](./) [g](sub/#part) [h](sub#none)"
    assert findings({"a.md": text, "sub/README.md": "# Part"}, "sub/deep/x.png") == [
        ("empty/", "missing-file"),
        ("sub#none", "missing-anchor"),
    ]


def test_anchors_of_other_files_than_markdown_are_not_judged() -> None:
    text = "[a](code.py#L10) [b](a.md?plain=1#L3) [c](a.md#L3) [d](#:~:text=hello) [e](#user-content-t)\n\n# T\n"
    assert findings({"a.md": text}, "code.py") == [("a.md#L3", "missing-anchor")]


def test_what_lies_in_a_submodule_is_not_judged() -> None:
    checked = check({"a.md": "[a](lib/README.md) [b](lib) [c](lib2/x)"}, lib="160000")
    assert [found.target for found in checked.findings] == ["lib2/x"]
    assert checked.external == 1


def test_images_and_references_are_judged_too() -> None:
    text = "![i](gone.png)\n\n[r][ref]\n\n<img src='gone.svg'>\n\n[ref]: gone.md\n"
    assert findings({"a.md": text}) == [
        ("gone.png", "missing-file"),
        ("gone.md", "missing-file"),
        ("gone.svg", "missing-file"),
    ]


def test_a_finding_says_where_what_and_what_might_be_meant() -> None:
    documents = {"docs/a.md": "# T\n\ntext [x](instal.md#Setup)", "docs/install.md": "## Setup\n"}
    assert check(documents).findings == (
        Finding("docs/a.md", 3, "instal.md#Setup", "missing-file", "there is no docs/instal.md", "install.md#Setup"),
    )


@pytest.mark.parametrize(
    ("document", "target", "suggestion"),
    [
        ("docs/a.md", "guide", "guide.md"),
        ("docs/a.md", "/docs/Guide.md", "/docs/guide.md"),
        ("a.md", "guide.md", "docs/guide.md"),
        ("other/deep/a.md", "../guide.md#x", "../../docs/guide.md#x"),
        ("docs/a.md", "two%20word.md", "two%20words.md"),
        ("docs/a.md", "guide.md#star", "guide.md#start"),
        ("docs/a.md", "guide.md#Start", "guide.md#start"),
        ("docs/a.md", "zzzzzz.bin", None),
    ],
)
def test_the_nearest_existing_thing_is_suggested(document: str, target: str, suggestion: str | None) -> None:
    documents = {document: f"[x]({target})", "docs/guide.md": "# Start\n", "docs/two words.md": ""}
    assert [found.suggestion for found in check(documents).findings] == [suggestion]


def test_only_the_part_asked_for_is_reported_against_the_whole() -> None:
    documents = {"a.md": "[x](gone.md)", "docs/b.md": "[x](gone.md) [y](../a.md)"}
    checked = check(documents, part="docs/")
    assert (checked.documents, checked.links) == (1, 2)
    assert [found.path for found in checked.findings] == ["docs/b.md"]


def test_markdown_is_known_by_its_name_and_links_to_files_are_not_read_twice() -> None:
    plain, link = FileState("0" * 40, "100644"), FileState("0" * 40, "120000")
    assert [is_markdown(path, plain) for path in ("a.md", "A.MD", "b.markdown", "md", "a.mdx", "a.txt")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert not is_markdown("a.md", link)
