import pytest

from examples.docs_consistency.checks.slugs import Slugs, slug_of


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Fleet — operator", "fleet--operator"),
        ("A / B", "a--b"),
        ("Estimator (MLE)", "estimator-mle"),
        ("heading with a - dash", "heading-with-a---dash"),
        ("with_underscore, and.dot", "with_underscore-anddot"),
        ("Привет, 你好!", "привет-你好"),
        ("naïve café", "naïve-café"),
        ("de\u0301ja\u0300 vu", "de\u0301ja\u0300-vu"),
        ("🚀 Start", "-start"),
        (":rocket: Start", "rocket-start"),
        ("x² + y₁ = ½", "x--y--"),
        ("Part Ⅳ and Ⓑ", "part-ⅳ-and-ⓑ"),
        ("no\u00a0break\u200bspace", "nobreakspace"),
        ("a‿b", "a‿b"),
        ("C++ & C#", "c--c"),
        ("`code` stays", "code-stays"),
        ("two\nlines", "twolines"),
        ("", ""),
    ],
)
def test_an_anchor_is_lower_case_without_punctuation_one_hyphen_for_each_space(heading: str, anchor: str) -> None:
    assert slug_of(heading) == anchor


def test_repeated_headings_are_numbered_from_1() -> None:
    slugs = Slugs()
    assert [slugs.next("Details") for _ in range(3)] == ["details", "details-1", "details-2"]


def test_a_number_that_is_taken_by_a_heading_is_not_given_again() -> None:
    slugs = Slugs()
    given = [slugs.next(heading) for heading in ("echo", "echo", "echo 1", "echo-1", "echo", "fox-1", "fox", "fox")]
    assert given == ["echo", "echo-1", "echo-1-1", "echo-1-2", "echo-2", "fox-1", "fox", "fox-2"]
