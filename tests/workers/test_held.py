"""Addresses that one process binds for others."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from gyrfalcon.policy import parse_listen_address
from gyrfalcon.transport.held import HeldSockets

BALANCED = sys.platform == "linux"


@contextmanager
def held(text: str) -> Iterator[HeldSockets]:
    with closing(HeldSockets(parse_listen_address(text))) as sockets:
        yield sockets


def listen(descriptor: int) -> socket.socket:
    """What a worker does with what it was handed."""
    listening = socket.socket(fileno=socket.dup(descriptor))
    listening.listen()
    return listening


def test_nothing_listens_until_a_worker_does() -> None:
    with held("127.0.0.1:0") as address:
        assert address.address == f"127.0.0.1:{address.port}"
        share = address.share(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", address.port))
        with listen(share.descriptors[0]):
            socket.create_connection(("127.0.0.1", address.port)).close()


def test_connections_that_wait_are_there_for_the_next_worker() -> None:
    with held("127.0.0.1:0") as address, ExitStack() as stack:
        listen(address.share(1).descriptors[0]).close()
        client = stack.enter_context(socket.create_connection(("127.0.0.1", address.port)))
        client.sendall(b"early")
        successor = stack.enter_context(listen(address.share(1).descriptors[0]))
        accepted = stack.enter_context(successor.accept()[0])
        assert accepted.recv(5) == b"early"


@pytest.mark.skipif(not BALANCED, reason="only Linux spreads connections over sockets")
def test_workers_have_sockets_of_their_own_that_share_the_connections() -> None:
    with held("127.0.0.1:0") as address, ExitStack() as stack:
        listening = [
            stack.enter_context(listen(address.share(number).descriptors[0])) for number in (1, 2)
        ]
        assert listening[0].getsockname() == listening[1].getsockname()
        for _ in range(64):
            stack.enter_context(socket.create_connection(("127.0.0.1", address.port)))
        found = []
        for one in listening:
            one.setblocking(False)
            found.append(0)
            while True:
                try:
                    stack.enter_context(one.accept()[0])
                except BlockingIOError:
                    break
                found[-1] += 1
        # That all 64 come to one has the probability 2 ** -63.
        assert sum(found) == 64
        assert min(found) > 0
        # One that is away for long leaves its part to the other.
        listening[0].close()
        address.withdraw(1)
        with socket.create_connection(("127.0.0.1", address.port)):
            stack.enter_context(listening[1].accept()[0])


def test_an_address_that_somebody_listens_on_cannot_be_had() -> None:
    with held("127.0.0.1:0") as address, listen(address.share(1).descriptors[0]):
        where = f"127.0.0.1:{address.port}"
        with pytest.raises(OSError, match=f"cannot listen on {where}: .*in use") as caught:
            HeldSockets(parse_listen_address(where))
    assert caught.value.errno == errno.EADDRINUSE


def test_a_unix_socket_is_one_for_all_and_its_file_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    with held(f"unix:{path}") as address:
        assert (address.shared, address.port) == (True, 0)
        assert address.share(1) == address.share(2)
        address.withdraw(1)
        with listen(address.share(2).descriptors[0]), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert not path.exists()


def test_a_socket_that_was_handed_over_is_one_for_all() -> None:
    given = socket.create_server(("127.0.0.1", 0))
    where = given.getsockname()
    with held(f"fd:{given.detach()}") as address:
        assert (address.shared, address.port) == (True, where[1])
        assert address.address == f"127.0.0.1:{where[1]}"
        assert address.share(1) == address.share(2)
        socket.create_connection(where).close()


def test_after_a_fork_a_worker_has_its_own_sockets_only() -> None:
    with held("127.0.0.1:0") as address:
        descriptors = [address.share(number).descriptors[0] for number in (1, 2)]
        address.leave_to(2)
        with socket.socket(fileno=descriptors[1]) as kept:
            assert kept.getsockname()[1] == address.port
        if BALANCED:
            with pytest.raises(OSError, match="Bad file descriptor"):
                socket.socket(fileno=descriptors[0])
