from examples.docs_consistency.checks import Link, outline_of


def links(text: str) -> list[tuple[int, str]]:
    return [(link.line, link.target) for link in outline_of(text.encode()).links]


def anchors(text: str) -> set[str]:
    return set(outline_of(text.encode()).anchors) - {""}


def test_links_and_images_carry_their_line() -> None:
    text = "# T\n\nfirst [a](a.md)\nsecond ![i](i.png) and [b](b.md 'title')\n\n- item\n  [c](c.md)\n\n> [d](d.md)\n"
    assert links(text) == [(3, "a.md"), (4, "i.png"), (4, "b.md"), (7, "c.md"), (9, "d.md")]


def test_an_example_is_no_link() -> None:
    text = "\n".join(
        [
            "```md",
            "[x](gone.md)",
            "```",
            "~~~",
            "[x](gone.md)",
            "~~~",
            "",
            "    [x](gone.md)",
            "",
            "a `[x](gone.md)` span, ``[x](`gone.md)``, \\[x](gone.md) escaped",
            "<!-- [x](gone.md) <a href='gone.md'>x</a> --> inline",
            "",
            "<!--",
            "",
            "[x](gone.md)",
            "",
            "-->",
            "",
            "<pre>[x](gone.md)</pre>",
            "",
            "real [x](gone.md) text",
        ]
    )
    assert links(text) == [(21, "gone.md")]


def test_a_line_is_right_after_a_code_span_over_two_lines() -> None:
    assert links("a `span\nover two` lines\nand [x](x.md)\n") == [(3, "x.md")]


def test_a_reference_counts_where_it_is_used() -> None:
    text = "[one][ref] and\n[ref] and [none][missing]\n\n[ref]: there.md#part\n[unused]: gone.md\n"
    assert links(text) == [(1, "there.md#part"), (2, "there.md#part")]


def test_targets_stay_as_written() -> None:
    assert links("[a](na%C3%AFve.md) [b](<two words.md>) [c](naïve.md)") == [
        (1, "na%C3%AFve.md"),
        (1, "two words.md"),
        (1, "naïve.md"),
    ]


def test_a_link_around_an_image_is_two_links() -> None:
    assert links("[![badge](b.png)](b.md)") == [(1, "b.md"), (1, "b.png")]


def test_tables_footnotes_and_task_lists_are_read_as_github_reads_them() -> None:
    text = "| a | b |\n|---|---|\n| [x](x.md) | y |\n\n- [ ] [t](t.md)\n\nnote[^1]\n\n[^1]: word\n"
    assert links(text) == [(3, "x.md"), (5, "t.md")]


def test_raw_html_has_links_and_anchors() -> None:
    text = (
        '<p align="center">\n  <img src="logo.png">\n</p>\n\nsome <a name="Spot"></a> <a href="a.md">a</a>\n\n'
        '<div id="box">\n</div>\n\n<h2>Raw &amp; heading</h2>\n'
    )
    assert links(text) == [(2, "logo.png"), (5, "a.md")]
    assert anchors(text) == {"Spot", "box", "raw--heading"}


def test_headings_of_every_kind_are_anchors_in_their_order() -> None:
    text = "# One `two`\n\nThree *four*\n============\n\n## [Five](x.md) ![six](s.png)\n\n> ## Three four\n"
    assert anchors(text) == {"one-two", "three-four", "five-", "three-four-1"}


def test_front_matter_is_no_heading() -> None:
    text = "---\ntitle: A\nlink: '[x](gone.md)'\n---\n\n# B\n\n[y](y.md)\n"
    assert anchors(text) == {"b"}
    assert links(text) == [(8, "y.md")]


def test_any_bytes_are_read() -> None:
    content = b"\xef\xbb\xbf# A\r\n\r\ntext\r\n[x](x.md) \xff\xfe\x00\r\n"
    outline = outline_of(content)
    assert outline.anchors == ("a",)
    assert outline.links == (Link(4, "x.md"),)
