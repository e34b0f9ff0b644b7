"""Metadata: what may go in, what comes out, and what must never reach the wire."""

from __future__ import annotations

import copy
import pickle
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyrfalcon.rpc import Metadata, pairs

text_keys = st.from_regex(r"x-[0-9a-z_.\-]{0,12}[0-9a-z]", fullmatch=True).filter(
    lambda key: not key.endswith("-bin")
)
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)).map(str.strip)
text_pairs = st.tuples(text_keys, texts)
binary_pairs = st.tuples(text_keys.map(lambda key: key + "-bin"), st.binary())
many_pairs = st.lists(st.one_of(text_pairs, binary_pairs))


def test_reads_like_a_mapping_of_first_values() -> None:
    md = Metadata([("tenant", "eu"), ("trace-bin", b"\x00"), ("tenant", "us")])
    assert md["tenant"] == "eu"
    assert md["TENANT"] == "eu"
    assert md.get("tenant") == "eu"
    assert md.get("missing") is None
    assert md.get("missing", "none") == "none"
    assert md.get_all("tenant") == ["eu", "us"]
    assert md.get_all("missing") == []
    assert "Tenant" in md
    assert "missing" not in md
    assert 3 not in md
    assert len(md) == 3
    assert list(md) == md.keys() == ["tenant", "trace-bin"]
    assert md.values() == ["eu", b"\x00", "us"]
    assert md.items() == [("tenant", "eu"), ("trace-bin", b"\x00"), ("tenant", "us")]
    assert dict(md) == {"tenant": "eu", "trace-bin": b"\x00"}


def test_missing_key_raises_key_error_with_the_key() -> None:
    with pytest.raises(KeyError, match="missing"):
        Metadata()["missing"]
    with pytest.raises(KeyError, match="missing"):
        del Metadata()["missing"]


def test_empty_metadata_is_false_and_equal() -> None:
    assert not Metadata()
    assert Metadata() == Metadata(None) == Metadata({}) == Metadata([])
    assert repr(Metadata()) == "Metadata([])"


@pytest.mark.parametrize(
    "given",
    [
        {"tenant": "eu", "id-bin": b"\x01"},
        {"Tenant": ["eu"], "ID-bin": bytearray(b"\x01")},
        MappingProxyType({"tenant": ("eu",), "id-bin": memoryview(b"\x01")}),
        [("tenant", "eu"), ("id-bin", b"\x01")],
        (["tenant", "eu"], ["id-bin", b"\x01"]),
        iter([("tenant", "eu"), ("id-bin", b"\x01")]),
        Metadata({"tenant": "eu", "id-bin": b"\x01"}),
    ],
)
def test_every_accepted_kind_gives_the_same_pairs(given: Metadata) -> None:
    assert pairs(given) == [("tenant", "eu"), ("id-bin", b"\x01")]


def test_a_list_in_a_mapping_is_several_pairs() -> None:
    assert pairs({"a": ["1", "2"], "b": "3", "none": []}) == [("a", "1"), ("a", "2"), ("b", "3")]


@pytest.mark.parametrize("given", ["tenant", b"tenant", 7, ["ab"], [("a", "b", "c")], [7]])
def test_other_objects_are_a_type_error_that_says_what_to_pass(given: Metadata) -> None:
    with pytest.raises(TypeError, match="pair"):
        pairs(given)


def test_setting_replaces_every_value_in_place() -> None:
    md = Metadata([("a", "1"), ("b", "2"), ("a", "3")])
    md["A"] = "4"
    assert md.items() == [("a", "4"), ("b", "2")]
    md["a"] = ["5", "6"]
    assert md.items() == [("a", "5"), ("a", "6"), ("b", "2")]
    md["c"] = "7"
    assert md.items()[-1] == ("c", "7")
    md["a"] = []
    assert md.items() == [("b", "2"), ("c", "7")]


def test_adding_and_deleting() -> None:
    md = Metadata()
    md.add("A", "1")
    md.add("b", "2")
    md.add("a", "3")
    assert md.items() == [("a", "1"), ("b", "2"), ("a", "3")]
    del md["A"]
    assert md.items() == [("b", "2")]


def test_a_refused_pair_changes_nothing() -> None:
    md = Metadata({"a": "1"})
    with pytest.raises(ValueError, match="printable"):
        md["a"] = ["2", "\n"]
    with pytest.raises(ValueError, match="reserved"):
        md.add("te", "trailers")
    assert md.items() == [("a", "1")]


def test_equality_minds_the_order_within_a_key_only() -> None:
    one = Metadata([("a", "1"), ("b", "2"), ("a", "3")])
    assert one == Metadata([("b", "2"), ("a", "1"), ("a", "3")])
    assert one != Metadata([("a", "3"), ("b", "2"), ("a", "1")])
    assert one != Metadata([("a", "1"), ("b", "2")])
    assert one != {"a": "1"}
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_copies_are_independent() -> None:
    md = Metadata({"a": "1"})
    for twin in (md.copy(), copy.copy(md.copy()), Metadata(md), pickle.loads(pickle.dumps(md))):
        assert twin == md
    twin = md.copy()
    twin.add("b", "2")
    listed = pairs(md)
    listed.append(("c", "3"))
    md.items().clear()
    assert md.items() == [("a", "1")]


@pytest.mark.parametrize(
    "key",
    [
        "grpc-status",
        "grpc-timeout",
        "Grpc-Anything-bin",
        ":path",
        ":authority",
        "te",
        "Content-Type",
        "content-length",
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
        "host",
        "trailer",
        "user-agent",
    ],
)
def test_keys_of_the_protocol_are_refused_by_name(key: str) -> None:
    with pytest.raises(ValueError, match=rf"'{key}' is reserved .* 'x-"):
        Metadata({key: "1"})


@pytest.mark.parametrize(
    "key", ["", "a b", "a\n", "a:b", "ü", "a/b", "a\x00", "\N{KELVIN SIGN}", "a,b", "a="]
)
def test_keys_with_other_characters_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"0-9 a-z _ \. -"):
        Metadata([(key, "1")])


def test_a_key_that_is_not_text_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"key 7 is int"):
        pairs([(7, "1")])  # type: ignore[list-item]


@pytest.mark.parametrize("value", ["ü", "a\r\ngrpc-status: 0", "\x00", "\x7f", "\t", "a\n"])
def test_text_that_would_break_a_header_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"'tenant' has the value .* printable ASCII.*tenant-bin"):
        Metadata({"tenant": value})


def test_the_wrong_kind_of_value_names_key_value_and_remedy() -> None:
    with pytest.raises(ValueError, match=r"'tenant' has the value b'eu' \(bytes\).*'tenant-bin'"):
        Metadata({"tenant": b"eu"})
    with pytest.raises(ValueError, match=r"'id-bin' has the value 'eu' \(str\).*bytes"):
        Metadata({"id-bin": "eu"})
    with pytest.raises(TypeError, match=r"'tenant' has the value 7 \(int\).*takes str"):
        Metadata([("tenant", 7)])  # type: ignore[list-item]


def test_blanks_around_a_value_are_taken_off() -> None:
    assert Metadata({"a": "  1 2 ", "b": "  "}).items() == [("a", "1 2"), ("b", "")]


def test_long_values_are_cut_where_they_are_shown() -> None:
    shown = repr(Metadata({"a": "x" * 10_000, "b-bin": b"\xff" * 10_000}))
    assert len(shown) < 600
    assert "(10000 long)" in shown
    with pytest.raises(ValueError, match="10001 long") as caught:
        Metadata({"a": "x" * 10_000 + "ü"})
    assert len(str(caught.value)) < 400


def test_received_metadata_is_kept_as_it_came() -> None:
    received: list[tuple[str, str | bytes]] = [("user-agent", "grpc-go/1.70"), ("a", "\xff")]
    md = Metadata._from_wire(received)
    assert md["user-agent"] == "grpc-go/1.70"
    assert md.items() == received


def test_forwarding_received_metadata_leaves_out_what_belongs_to_the_protocol() -> None:
    md = Metadata._from_wire([("user-agent", "x"), ("grpc-trace-bin", b"1"), ("tenant", "eu")])
    for source in (md, md.copy()):
        assert pairs(source) == [("tenant", "eu")]
        assert Metadata(source).items() == [("tenant", "eu")]


def test_forwarding_received_metadata_checks_its_values() -> None:
    with pytest.raises(ValueError, match="'a' has the value"):
        pairs(Metadata._from_wire([("a", "\xff")]))


@given(many_pairs)
def test_pairs_come_out_as_they_went_in(given: list[tuple[str, str | bytes]]) -> None:
    assert pairs(given) == pairs(Metadata(given)) == Metadata(given).items() == given


@given(many_pairs)
def test_a_mapping_of_lists_keeps_the_order_of_each_key(
    given: list[tuple[str, str | bytes]],
) -> None:
    md = Metadata(given)
    assert Metadata({key: md.get_all(key) for key in md}) == md
    assert len(md) == len(given)
    assert md.keys() == list(dict.fromkeys(key for key, _ in given))


@given(st.text(), st.one_of(st.text(), st.binary()))
def test_whatever_is_accepted_can_stand_in_a_header(key: str, value: str | bytes) -> None:
    try:
        [(name, kept)] = pairs([(key, value)])
    except ValueError:
        return
    assert set(name) <= set("0123456789abcdefghijklmnopqrstuvwxyz_.-")
    assert not name.startswith("grpc-")
    if name.endswith("-bin"):
        assert kept == value
    else:
        assert isinstance(kept, str)
        assert all(" " <= character <= "~" for character in kept)
        assert kept == kept.strip()
