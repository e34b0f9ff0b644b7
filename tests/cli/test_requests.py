"""How input is cut into JSON documents."""

from __future__ import annotations

import pytest

from gyrfalcon.cli import requests
from gyrfalcon.cli.failures import WrongUse
from gyrfalcon.cli.requests import Splitter

FIRST = "input, line 1"
DEEP = ["[" * 200_000 + "\n", "]" * 200_000]


def split(*lines: str) -> list[tuple[str, str]]:
    splitter = Splitter("input")
    found = [tuple(one) for line in lines for one in splitter.feed(line.encode())]
    return [(text, where) for text, where in [*found, *map(tuple, splitter.finish())]]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["{}\n"], [("{}", FIRST)]),
        (["{}"], [("{}", FIRST)]),
        (["{}{}\n"], [("{}", FIRST)] * 2),
        (["\n", " \t\n", "1\n"], [("1", "input, line 3")]),
        (
            ['"a" "b"\n', "null\n"],
            [('"a"', FIRST), ('"b"', FIRST), ("null", "input, line 2")],
        ),
        (["{\n", '"a": [\n', "1]\n", "}\n"], [('{\n"a": [\n1]\n}', FIRST)]),
        (['{"a": "}\\"{["}\n'], [('{"a": "}\\"{["}', FIRST)]),
        (["{} {\n", "}\n"], [("{}", FIRST), ("{\n}", FIRST)]),
        (["\ufeff{}\n"], [("{}", FIRST)]),
        ([], []),
    ],
)
def test_documents(lines: list[str], expected: list[tuple[str, str]]) -> None:
    assert split(*lines) == expected


def test_a_document_is_given_with_its_last_line() -> None:
    splitter = Splitter("input")
    assert [list(splitter.feed(line)) for line in (b"{\n", b"}\n", b"2\n")] == [
        [],
        [("{\n}", FIRST)],
        [("2", "input, line 3")],
    ]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["{}\n", "{]\n", "}\n"], "input, line 2: this is no JSON: Expecting property name"),
        (["{\n"], "input, line 1: this is no JSON: Expecting property name"),
        (["}\n"], "input, line 1: this is no JSON: Expecting value"),
        (['"a\n'], "input, line 1: this is no JSON: Invalid control character"),
        (
            ["[" * 200_000 + "\n", "]" * 200_000],
            "input, line 1: this is no JSON: it is nested too deep",
        ),
    ],
)
def test_what_is_no_json(lines: list[str], reason: str) -> None:
    with pytest.raises(WrongUse) as caught:
        split(*lines)
    assert caught.value.message.startswith(reason)


def test_what_is_no_utf_8() -> None:
    with pytest.raises(WrongUse, match="input, line 1: this is no UTF-8"):
        list(Splitter("input").feed(b'"\xff"\n'))


def test_a_document_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAX_DOCUMENT_BYTES", 10)
    splitter = Splitter("input")
    assert list(splitter.feed(b"[1,\n")) == []
    with pytest.raises(WrongUse, match="input, line 1: a request has more than 10 bytes of JSON"):
        list(splitter.feed(b"2222222\n"))


def test_the_limit_is_for_each_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAX_DOCUMENT_BYTES", 10)
    assert split(*["[1,\n", "2]\n"] * 5) == [
        ("[1,\n2]", f"input, line {n}") for n in (1, 3, 5, 7, 9)
    ]
