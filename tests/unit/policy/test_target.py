"""Targets and listen addresses: every spelling that gRPC knows, and a clear no to the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gyrfalcon.policy import (
    Address,
    TcpAddress,
    UnixAddress,
    parse_listen_address,
    parse_target,
)


@pytest.mark.parametrize(
    ("text", "host", "port", "authority"),
    [
        ("localhost:50051", "localhost", 50051, "localhost:50051"),
        ("shop.example", "shop.example", 443, "shop.example"),
        ("shop.example.:1", "shop.example.", 1, "shop.example.:1"),
        ("127.0.0.1:65535", "127.0.0.1", 65535, "127.0.0.1:65535"),
        ("[::1]:50051", "::1", 50051, "[::1]:50051"),
        ("[::1]", "::1", 443, "[::1]"),
        ("[fe80::1%eth0]:50051", "fe80::1%eth0", 50051, "[fe80::1]:50051"),
        ("dns:shop.example:50051", "shop.example", 50051, "shop.example:50051"),
        ("dns:shop.example", "shop.example", 443, "shop.example"),
        ("dns:///shop.example:50051", "shop.example", 50051, "shop.example:50051"),
        ("DNS:///shop.example", "shop.example", 443, "shop.example"),
        ("dns:///[::1]:50051", "::1", 50051, "[::1]:50051"),
        ("order_service:50051", "order_service", 50051, "order_service:50051"),
        ("bücher.example:50051", "xn--bcher-kva.example", 50051, "xn--bcher-kva.example:50051"),
    ],
)
def test_a_name_is_to_be_looked_up(text: str, host: str, port: int, authority: str) -> None:
    target = parse_target(text)
    assert target.text == text
    assert target.scheme == "dns"
    assert target.addresses == (TcpAddress(host, port),)
    assert target.authority == authority


@pytest.mark.parametrize(
    ("text", "addresses", "authority"),
    [
        (
            "ipv4:1.2.3.4:50,1.2.3.5:51",
            (TcpAddress("1.2.3.4", 50), TcpAddress("1.2.3.5", 51)),
            "1.2.3.4:50",
        ),
        ("ipv4:1.2.3.4", (TcpAddress("1.2.3.4", 443),), "1.2.3.4"),
        ("ipv4:///1.2.3.4:50", (TcpAddress("1.2.3.4", 50),), "1.2.3.4:50"),
        (
            "ipv6:[::1]:50,[2001:db8::2]:51",
            (TcpAddress("::1", 50), TcpAddress("2001:db8::2", 51)),
            "[::1]:50",
        ),
        ("ipv6:2001:db8::2", (TcpAddress("2001:db8::2", 443),), "[2001:db8::2]"),
        ("ipv6:[fe80::1%eth0]:50", (TcpAddress("fe80::1%eth0", 50),), "[fe80::1]:50"),
    ],
)
def test_ip_addresses_stand_for_themselves(
    text: str, addresses: tuple[Address, ...], authority: str
) -> None:
    target = parse_target(text)
    assert target.scheme == text[:4]
    assert target.addresses == addresses
    assert target.authority == authority


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("unix:/run/shop.sock", "/run/shop.sock"),
        ("unix:///run/shop.sock", "/run/shop.sock"),
        ("unix:shop.sock", "shop.sock"),
        ("unix:/run/a%20b:c", "/run/a%20b:c"),
        ("unix-abstract:shop", "\0shop"),
    ],
)
def test_unix_sockets(text: str, path: str) -> None:
    target = parse_target(text)
    address = UnixAddress(path)
    assert target.addresses == (address,)
    assert address.abstract is text.startswith("unix-abstract:")
    assert address.path == path.removeprefix("\0")
    assert target.authority == "localhost"
    assert parse_listen_address(text) == address


def test_schemes_of_other_resolvers_keep_their_names() -> None:
    for text in ("consul:shop/orders", "consul:///shop/orders", "consul://agent/shop/orders"):
        target = parse_target(text, {"consul"})
        assert (target.scheme, target.endpoint, target.addresses) == ("consul", "shop/orders", ())
        assert target.text == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no host"),
        (":50051", "no host"),
        ("dns:///", "no host"),
        ("localhost:", "port ''"),
        ("localhost:http", "port 'http'"),
        ("localhost:0", "from 1 to 65535"),
        ("localhost:65536", "from 1 to 65535"),
        ("localhost:-1", "port '-1'"),
        ("localhost:+1", r"port '\+1'"),
        ("localhost:1_0", "port '1_0'"),
        ("localhost:٣", "port '٣'"),
        ("localhost:" + "1" * 5000, "a port is a number"),
        ("::1", r"several colons: .* \[::1\]:50051"),
        ("::1:50051", "several colons"),
        ("[::1", "brackets"),
        ("[::1]50051", "brackets"),
        ("[localhost]:50051", "no IPv6 address in 'localhost'"),
        ("[]:50051", "no IPv6 address"),
        ("50051", "a number"),
        ("a b:1", "the host 'a b'"),
        ("user@host:1", "the host 'user@host'"),
        ("host/path:1", "the host 'host/path'"),
        ("a..ü:1", "not a domain name"),
        ("http://localhost:50051/x", "is a URL: write 'localhost:50051'.*tls="),
        ("HTTPS://localhost", "is a URL"),
        ("consul:///shop", "unknown scheme 'consul': use one of dns, ipv4"),
        ("dns://8.8.8.8/shop.example", "'8.8.8.8' to ask: write dns:///shop.example"),
        ("unix://run/shop.sock", "'run' to ask: write unix:///shop.sock"),
        ("unix:", "no path"),
        ("unix://", "no path"),
        ("unix:/a\0b", "null character"),
        ("ipv4:", "no IPv4 address"),
        ("ipv4:localhost:1", "no IPv4 address in 'localhost'"),
        ("ipv4:1.2.3.4:1,", "no IPv4 address in ''"),
        ("ipv4:[::1]:1", "no IPv4 address in '::1'"),
        ("ipv6:1.2.3.4", "no IPv6 address in '1.2.3.4'"),
        ("ipv6:[::1]:x", "port 'x'"),
    ],
)
def test_what_is_no_target_is_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        parse_target(text)
    assert str(caught.value).startswith(f"address {text!r} ")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:0", TcpAddress("127.0.0.1", 0)),
        ("localhost:50051", TcpAddress("localhost", 50051)),
        ("[::]:50051", TcpAddress("::", 50051)),
        ("[::1]:0", TcpAddress("::1", 0)),
        (":50051", TcpAddress("", 50051)),
    ],
)
def test_listen_addresses(text: str, address: TcpAddress) -> None:
    assert parse_listen_address(text) == address


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no port"),
        ("localhost", "no port: write 'localhost:50051', or port 0"),
        ("[::1]", "no port"),
        ("50051", "no port"),
        ("localhost:65536", "from 0 to 65535"),
        ("::1:50051", "several colons"),
        ("http://localhost:50051", "several colons"),
        ("a b:0", "the host 'a b'"),
        ("unix:", "no path"),
    ],
)
def test_what_is_no_listen_address_is_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        parse_listen_address(text)
    assert str(caught.value).startswith(f"address {text!r} ")


def test_addresses_are_shown_as_they_are_written() -> None:
    assert str(TcpAddress("::1", 5)) == "[::1]:5"
    assert str(TcpAddress("localhost", 5)) == "localhost:5"
    assert str(UnixAddress("/a")) == "unix:/a"
    assert str(UnixAddress("\0a")) == "unix-abstract:a"


T = TypeVar("T")

texts = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(["dns", "unix", "ipv4", "ipv6", ":", "/", "[", "]", "::1", "1.2.3.4", ","]),
        max_size=8,
    ).map("".join),
)


def parsed_or_refused(parse: Callable[[str], T], text: str) -> T | None:
    try:
        return parse(text)
    except ValueError as error:
        reason = str(error)
    assert reason.startswith(f"address {text!r} ")
    return None


@given(texts)
@example("\ud800:1")
def test_any_text_is_a_target_or_a_value_error(text: str) -> None:
    target = parsed_or_refused(parse_target, text)
    if target is None:
        return
    first = target.addresses[0]
    again = f"dns:///{first}" if isinstance(first, TcpAddress) else str(first)
    assert parse_target(again).addresses == target.addresses[:1]
    assert target.authority.isascii()
    assert target.authority.isprintable()


@given(texts)
def test_any_text_is_a_listen_address_or_a_value_error(text: str) -> None:
    address = parsed_or_refused(parse_listen_address, text)
    if address is not None:
        assert parse_listen_address(str(address)) == address
