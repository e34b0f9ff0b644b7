"""The client under test of connectconformance: makes the calls that it reads from stdin, several
at a time, and writes what came of each to stdout.

    python -m tests.conformance.client --face asyncio|blocking [--parallel N]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gyrfalcon as gyr
from gyrfalcon import blocking
from tests.conformance.conversation import Script, converse, read_script
from tests.conformance.faces import AsyncioSteps, BlockingSteps, run_without_loop
from tests.conformance.proto.connectrpc.conformance.v1 import config_pb2
from tests.conformance.proto.connectrpc.conformance.v1.client_compat_pb2 import (
    ClientCompatRequest,
    ClientCompatResponse,
    ClientErrorResult,
    ClientResponseResult,
)
from tests.conformance.protocol import check_wire, metadata_of, read_message, write_message

CODECS = {config_pb2.CODEC_PROTO: "proto", config_pb2.CODEC_JSON: "json"}
COMPRESSIONS = {
    config_pb2.COMPRESSION_IDENTITY: None,
    config_pb2.COMPRESSION_GZIP: "gzip",
    config_pb2.COMPRESSION_DEFLATE: "deflate",
    config_pb2.COMPRESSION_ZSTD: "zstd",
}


def channel_options(asked: ClientCompatRequest) -> dict[str, Any]:
    """ValueError for what this client does not do."""
    check_wire(asked.protocol, asked.http_version)
    if asked.HasField("raw_request"):
        raise ValueError("raw requests are the reference client's business")
    if asked.codec not in CODECS:
        raise ValueError(f"{config_pb2.Codec.Name(asked.codec)} is not known")
    if asked.compression not in COMPRESSIONS:
        raise ValueError(f"{config_pb2.Compression.Name(asked.compression)} is not known")
    options: dict[str, Any] = {
        "codec": CODECS[asked.codec],
        "compression": COMPRESSIONS[asked.compression],
    }
    if asked.message_receive_limit:
        options["max_receive_bytes"] = asked.message_receive_limit
    if asked.server_tls_cert:
        credentials = asked.client_tls_creds
        options["tls"] = gyr.ClientTLS(
            ca=asked.server_tls_cert, cert=credentials.cert or None, key=credentials.key or None
        )
    return options


def call_options(asked: ClientCompatRequest) -> dict[str, Any]:
    return {
        "metadata": metadata_of(asked.request_headers),
        "timeout": asked.timeout_ms / 1000 if asked.HasField("timeout_ms") else None,
    }


def target(asked: ClientCompatRequest) -> str:
    return f"[{asked.host}]:{asked.port}" if ":" in asked.host else f"{asked.host}:{asked.port}"


async def call_asyncio(asked: ClientCompatRequest, script: Script) -> ClientResponseResult:
    async with gyr.Channel(target(asked), **channel_options(asked)) as channel:
        return await converse(script, AsyncioSteps(script, channel, call_options(asked)))


def call_blocking(asked: ClientCompatRequest, script: Script) -> ClientResponseResult:
    with blocking.Channel(target(asked), **channel_options(asked)) as channel:
        steps = BlockingSteps(script, channel, call_options(asked))
        return run_without_loop(converse(script, steps))


def failed(asked: ClientCompatRequest, error: Exception) -> ClientCompatResponse:
    """The answer to a request that could not be carried out."""
    text = "".join(traceback.format_exception(error))
    return ClientCompatResponse(
        test_name=asked.test_name, error=ClientErrorResult(message=text.strip())
    )


async def answer_asyncio(asked: ClientCompatRequest) -> ClientCompatResponse:
    try:
        result = await call_asyncio(asked, read_script(asked))
    except Exception as error:
        return failed(asked, error)
    return ClientCompatResponse(test_name=asked.test_name, response=result)


def answer_blocking(asked: ClientCompatRequest) -> ClientCompatResponse:
    try:
        result = call_blocking(asked, read_script(asked))
    except Exception as error:
        return failed(asked, error)
    return ClientCompatResponse(test_name=asked.test_name, response=result)


async def serve_asyncio(parallel: int) -> None:
    places = asyncio.Semaphore(parallel)

    async def answer(asked: ClientCompatRequest) -> None:
        try:
            write_message(sys.stdout.buffer, await answer_asyncio(asked))
        finally:
            places.release()

    async with asyncio.TaskGroup() as tasks:
        while True:
            await places.acquire()
            asked = await asyncio.to_thread(read_message, sys.stdin.buffer, ClientCompatRequest)
            if asked is None:
                return
            tasks.create_task(answer(asked))


def serve_blocking(parallel: int) -> None:
    places = threading.Semaphore(parallel)
    writing = threading.Lock()

    def answer(asked: ClientCompatRequest) -> None:
        try:
            response = answer_blocking(asked)
            with writing:
                write_message(sys.stdout.buffer, response)
        finally:
            places.release()

    with ThreadPoolExecutor(parallel) as threads:
        while True:
            places.acquire()
            asked = read_message(sys.stdin.buffer, ClientCompatRequest)
            if asked is None:
                return
            threads.submit(answer, asked)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.client")
    parser.add_argument("--face", choices=("asyncio", "blocking"), required=True)
    parser.add_argument("--parallel", type=int, default=8, help="calls at a time (8)")
    options = parser.parse_args()
    if options.face == "asyncio":
        asyncio.run(serve_asyncio(options.parallel))
    else:
        serve_blocking(options.parallel)


if __name__ == "__main__":
    main()
