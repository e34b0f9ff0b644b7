"""Windows grow with what a sender sends in a round trip, where its messages are taken."""

from __future__ import annotations

from gyrfalcon._core.connection import Connection
from gyrfalcon._core.stream import Stream

from .wires import REQUEST, FrameType, frames, join, messages, only

MIB = 2**20
PIECE = bytes(64 * 1024 - 5)


def send_much(client: Connection, size: int) -> Stream:
    stream = client.open(REQUEST)
    for _ in range(size // len(PIECE)):
        stream.send_message(PIECE)
    return stream


def data_bytes(output: bytes) -> int:
    return sum(len(body) for kind, _, _, body in frames(output) if kind == FrameType.DATA)


def round_trips(client: Connection, server: Connection, count: int, *, take: bool) -> list[int]:
    """The bytes of DATA that the client sends before it hears of the server again, each time."""
    sent = []
    for _ in range(count):
        output = client.take_output()
        sent.append(data_bytes(output))
        server.receive(output)
        if take:
            for stream in server.streams():
                messages(stream)
        client.receive(server.take_output())
    return sent


def exchange_settings(client: Connection, server: Connection) -> None:
    round_trips(client, server, 2, take=False)


def test_a_window_grows_to_four_times_what_was_announced_and_no_further() -> None:
    client, server = join(stream_window=MIB, connection_window=64 * MIB)
    exchange_settings(client, server)
    send_much(client, 64 * MIB)
    sent = round_trips(client, server, 9, take=True)
    assert sent[0] == MIB
    assert sent == sorted(sent)
    assert sent[-1] == 4 * MIB


def test_the_window_of_a_stream_whose_messages_nobody_takes_stays() -> None:
    client, server = join(stream_window=MIB, connection_window=64 * MIB)
    exchange_settings(client, server)
    stream = send_much(client, 16 * MIB)
    assert round_trips(client, server, 4, take=False) == [MIB, 0, 0, 0]
    assert server.unread_bytes == MIB
    assert stream.out_bytes > 0


def test_another_streams_growth_is_not_for_one_whose_messages_nobody_takes() -> None:
    client, server = join(stream_window=MIB, connection_window=64 * MIB)
    exchange_settings(client, server)
    send_much(client, 64 * MIB)
    round_trips(client, server, 6, take=True)
    busy = only(server.streams())
    idle = send_much(client, 16 * MIB)
    for _ in range(4):
        server.receive(client.take_output())
        messages(busy)
        client.receive(server.take_output())
    unread = next(stream for stream in server.streams() if stream is not busy)
    assert sum(len(one) + 5 for one in messages(unread) if isinstance(one, bytes)) == MIB
    assert idle.out_bytes > 0


def test_an_eighth_of_max_unread_bytes_is_the_most() -> None:
    client, server = join(stream_window=MIB, connection_window=64 * MIB, max_unread_bytes=16 * MIB)
    exchange_settings(client, server)
    send_much(client, 32 * MIB)
    assert round_trips(client, server, 8, take=True)[-1] == 2 * MIB


def test_small_traffic_is_not_looked_at() -> None:
    client, server = join()
    exchange_settings(client, server)
    kinds = []
    for _ in range(100):
        client.open(REQUEST).send_message(b"small")
        server.receive(client.take_output())
        for stream in server.streams():
            messages(stream)
        output = server.take_output()
        kinds += [kind for kind, *_ in frames(output)]
        client.receive(output)
    assert FrameType.PING not in kinds


def test_looks_become_rare_where_the_window_is_right() -> None:
    client, server = join(stream_window=MIB, connection_window=64 * MIB)
    exchange_settings(client, server)
    stream = client.open(REQUEST)
    pings = 0
    for _ in range(1024):  # 64 MiB, a little at a time
        stream.send_message(PIECE)
        server.receive(client.take_output())
        for received in server.streams():
            messages(received)
        output = server.take_output()
        pings += sum(kind == FrameType.PING for kind, *_ in frames(output))
        client.receive(output)
    # After 256 KiB, 512 KiB, ... 16 MiB, and then every 16 MiB.
    assert pings == 9
