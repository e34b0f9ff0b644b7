"""The server under test of connectconformance: is told on stdin what to serve, writes to stdout
where, and serves until SIGTERM.

    python -m tests.conformance.server --face asyncio|blocking
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from typing import Any

import gyrfalcon as gyr
from gyrfalcon import blocking
from tests.conformance.proto.connectrpc.conformance.v1.server_compat_pb2 import (
    ServerCompatRequest,
    ServerCompatResponse,
)
from tests.conformance.protocol import check_wire, read_message, write_message
from tests.conformance.service import LoopConformance, ThreadConformance

HOST = "127.0.0.1"
# Handlers sleep as long as the runner says, also past a deadline that their call has missed.
WORKERS = 64
STOPPING = (signal.SIGTERM, signal.SIGINT)


def server_options(asked: ServerCompatRequest) -> dict[str, Any]:
    check_wire(asked.protocol, asked.http_version)
    options: dict[str, Any] = {"compression": "gzip", "grace": 1.0}
    if asked.message_receive_limit:
        options["max_receive_bytes"] = asked.message_receive_limit
    if asked.use_tls:
        options["tls"] = gyr.ServerTLS(
            cert=asked.server_creds.cert,
            key=asked.server_creds.key,
            client_ca=asked.client_tls_cert or None,
            require_client=bool(asked.client_tls_cert),
        )
    return options


def announce(asked: ServerCompatRequest, port: int) -> None:
    cert = asked.server_creds.cert if asked.use_tls else b""
    write_message(sys.stdout.buffer, ServerCompatResponse(host=HOST, port=port, pem_cert=cert))


async def serve_asyncio(asked: ServerCompatRequest) -> None:
    async with gyr.Server([LoopConformance()], **server_options(asked)) as server:
        stopping = asyncio.Event()
        for number in STOPPING:
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        announce(asked, await server.listen(f"{HOST}:0"))
        await stopping.wait()


def serve_blocking(asked: ServerCompatRequest) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # in the threads to come, too
    options = server_options(asked)
    with blocking.Server([ThreadConformance()], max_workers=WORKERS, **options) as server:
        announce(asked, server.listen(f"{HOST}:0"))
        signal.sigwait(STOPPING)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.server")
    parser.add_argument("--face", choices=("asyncio", "blocking"), required=True)
    face = parser.parse_args().face
    asked = read_message(sys.stdin.buffer, ServerCompatRequest)
    if asked is None:
        parser.error("nothing was asked on stdin")
    if face == "asyncio":
        asyncio.run(serve_asyncio(asked))
    else:
        serve_blocking(asked)


if __name__ == "__main__":
    main()
