"""Comments become docstrings that say the same."""

from __future__ import annotations

import ast

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from hypothesis import example, given
from hypothesis import strategies as st

from gyrfalcon.codegen.comments import docstring, service_comments


@given(st.text(st.characters(exclude_characters="\n", codec="utf-8")))
@example('"')
@example('"""')
@example('""""')
@example("\\")
@example('\\"')
@example('a"""b\\"""')
@example("\u202e\x00\x1b\r\u2028\u00a0")
def test_docstring_of_one_line_evaluates_to_the_text(text: str) -> None:
    lines = docstring(text, "")
    assert len(lines) == 1
    assert ast.literal_eval(lines[0]) == text


@given(st.lists(st.text(st.characters(exclude_categories=["Z", "C"])), min_size=2))
@example(['"', '"'])
@example(["\\", '"""\\'])
def test_docstring_of_many_lines_is_indented(rows: list[str]) -> None:
    lines = docstring("\n".join(rows), "    ")
    assert all(line.startswith("    ") or not line for line in lines)
    value = ast.literal_eval("\n".join(lines).strip())
    assert [row.removeprefix("    ") for row in value.split("\n")] == [*rows, ""]


@pytest.mark.parametrize("hidden", ["\x00", "\x1b", "\r", "\u202e", "\u2028", "\ufeff"])
def test_docstring_shows_what_an_editor_hides(hidden: str) -> None:
    assert hidden not in docstring(f"a{hidden}b", "")[0]


@pytest.mark.parametrize(
    ("leading", "trailing", "expected"),
    [
        (" One line.\n", "", "One line."),
        (" First.\n\n   Indented.\n Last.\n", "", "First.\n\n  Indented.\nLast."),
        ("*\n A block.\n\n   - item\n ", "", "A block.\n\n  - item"),
        ("* A short block. ", "", "A short block."),
        (" * an item\n", "", "* an item"),
        (" Windows.  \r\n Lines.\r\n", "", "Windows.\nLines."),
        (" Before.\n", " Behind.\n", "Before."),
        ("", " Behind.\n", "Behind."),
        (" \n", " Behind.\n", "Behind."),
    ],
)
def test_service_comments(leading: str, trailing: str, expected: str) -> None:
    file = FileDescriptorProto()
    file.source_code_info.location.add(
        path=[6, 0], leading_comments=leading, trailing_comments=trailing
    )
    assert service_comments(file) == {(6, 0): expected}


def test_service_comments_leave_out_messages_and_silence() -> None:
    file = FileDescriptorProto()
    file.source_code_info.location.add(path=[4, 0], leading_comments=" A message.\n")
    file.source_code_info.location.add(path=[6, 0, 2, 0])
    assert service_comments(file) == {}
