"""Addresses to listen on: ports, unix sockets, both IP versions, and what cannot be had."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import SAFETY_NET_S, Calls, Stub, message

pytestmark = pytest.mark.anyio


async def tell_peer(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return message(ctx.peer.encode())


def make_server() -> gyr.Server:
    return gyr.Server([Calls(unary=tell_peer)], grace=0.0)


async def peer_of(target: str) -> str:
    """Who the server says is calling from a channel to this target."""
    async with asyncio.timeout(SAFETY_NET_S), gyr.Channel(target) as channel:
        return (await Stub(channel).unary(message())).value.decode()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_a_free_port_is_taken_and_told() -> None:
    async with make_server() as server:
        port = await server.listen("127.0.0.1:0")
        assert 0 < port < 65536
        assert (await peer_of(f"127.0.0.1:{port}")).startswith("ipv4:127.0.0.1:")
        assert f"127.0.0.1:{port}" in repr(server)


async def test_several_addresses_at_once(tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    async with make_server() as server:
        first = await server.listen("127.0.0.1:0")
        second = await server.listen("127.0.0.1:0")
        assert first != second
        assert await server.listen(f"unix:{path}") == 0
        assert (await peer_of(f"127.0.0.1:{first}")).startswith("ipv4:")
        assert (await peer_of(f"127.0.0.1:{second}")).startswith("ipv4:")
        assert (await peer_of(f"unix:{path}")).startswith("unix:")


@pytest.mark.parametrize("form", ["unix:{}", "unix://{}"])
async def test_a_unix_socket_is_there_while_it_is_listened_on(tmp_path: Path, form: str) -> None:
    path = tmp_path / "shop.sock"
    async with make_server() as server:
        await server.listen(form.format(path))
        assert path.is_socket()
        assert (await peer_of(form.format(path))) == "unix:"
    assert not path.exists()


async def test_an_abstract_unix_socket() -> None:
    name = f"unix-abstract:gyrfalcon-{os.getpid()}"
    async with make_server() as server:
        await server.listen(name)
        assert (await peer_of(name)).startswith("unix")


async def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    async with make_server() as server:
        await server.listen(f"unix:{path}")
        assert await peer_of(f"unix:{path}") == "unix:"


async def test_a_socket_file_in_use_and_other_files_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    plain = tmp_path / "plain"
    plain.write_text("precious")
    async with make_server() as first, make_server() as second:
        await first.listen(f"unix:{path}")
        for used in (path, plain):
            with pytest.raises(OSError, match=f"cannot listen on unix:{used}: .*in use"):
                await second.listen(f"unix:{used}")
        assert await peer_of(f"unix:{path}") == "unix:"
    assert plain.read_text() == "precious"


async def test_a_file_that_took_the_place_of_the_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    async with make_server() as server:
        await server.listen(f"unix:{path}")
        path.unlink()
        path.write_text("precious")
    assert path.read_text() == "precious"


async def test_a_port_in_use_is_an_error_that_names_it() -> None:
    async with make_server() as first, make_server() as second:
        port = await first.listen("127.0.0.1:0")
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: .*in use"):
            await second.listen(f"127.0.0.1:{port}")
        # It can go on with another address.
        other = await second.listen("127.0.0.1:0")
        assert (await peer_of(f"127.0.0.1:{other}")).startswith("ipv4:")


async def test_an_address_that_this_machine_does_not_have_is_an_error_that_names_it() -> None:
    async with make_server() as server:
        with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:50051"):
            await server.listen("192.0.2.1:50051")
        with pytest.raises(OSError, match=r"cannot listen on no-such-host\.invalid:50051"):
            await server.listen("no-such-host.invalid:50051")
        with pytest.raises(OSError, match=r"cannot listen on unix:/no/such/folder/shop\.sock"):
            await server.listen("unix:/no/such/folder/shop.sock")


@pytest.mark.parametrize("address", ["", "50051", "127.0.0.1", "localhost:http", ":70000", "unix:"])
async def test_what_is_no_address_is_refused(address: str) -> None:
    async with make_server() as server:
        with pytest.raises(ValueError, match="address"):
            await server.listen(address)


async def test_a_host_name_is_listened_on() -> None:
    async with make_server() as server:
        port = await server.listen("localhost:0")
        assert (await peer_of(f"localhost:{port}")).startswith(("ipv4:127.", "ipv6:[::1]:"))


async def test_every_interface() -> None:
    async with make_server() as server:
        port = await server.listen("0.0.0.0:0")
        assert (await peer_of(f"127.0.0.1:{port}")).startswith("ipv4:127.0.0.1:")
        port = await server.listen(":0")
        assert "127.0.0.1" in await peer_of(f"127.0.0.1:{port}")


async def test_ipv6() -> None:
    async with make_server() as server:
        if not has_ipv6():
            with pytest.raises(OSError, match=r"cannot listen on \[::1\]:0"):
                await server.listen("[::1]:0")
            return
        port = await server.listen("[::1]:0")
        assert (await peer_of(f"[::1]:{port}")).startswith("ipv6:[::1]:")
        assert (await peer_of(f"ipv6:[::1]:{port}")).startswith("ipv6:[::1]:")


async def test_a_port_is_free_again_after_the_server_has_stopped() -> None:
    async with make_server() as first:
        port = await first.listen("127.0.0.1:0")
        await peer_of(f"127.0.0.1:{port}")
    async with make_server() as second:
        assert await second.listen(f"127.0.0.1:{port}") == port
        await peer_of(f"127.0.0.1:{port}")
