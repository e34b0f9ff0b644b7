"""Who takes part, and what each of them does not have."""

from __future__ import annotations

from tests.interop import cases

from .peers import Go, Java, Peer, Python

OURS = "Gyrfalcon"

PROBED = {
    "client_compressed_unary": "client_compressed_unary_noprobe",
    "client_compressed_streaming": "client_compressed_streaming_noprobe",
}
"""Cases that first look whether the server checks `expect_compressed`; what they are without."""

GROUPS: dict[str, tuple[str, ...]] = {
    "functional": tuple(cases.FUNCTIONAL),
    "compression": tuple(name for name in cases.COMPRESSION if name not in PROBED.values()),
    "ORCA": tuple(cases.ORCA),
    "soak": tuple(cases.SOAK),
}
"""What runs between any two programs, both in plaintext and over TLS."""
HTTP2 = tuple(cases.HTTP2)
"""What every client runs against the server that misbehaves."""
HTTP2_SERVER = "the HTTP/2 server"


def all_of(reason: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, reason)


COMPRESSED = GROUPS["compression"]
GO_CLIENT = all_of("grpc-go's client has no such case", *COMPRESSED)
GO_SERVER = all_of("grpc-go's server has no compression", *COMPRESSED, *PROBED.values())
GO_SERVER["pick_first_unary"] = "grpc-go's server fills in no `server_id`"
JAVA_SERVER = all_of("grpc-java's server does not check `expect_compressed`", *PROBED)
JAVA_SERVER["server_compressed_streaming"] = "grpc-java's server compresses no stream of replies"
JAVA_SERVER["pick_first_unary"] = "grpc-java's server fills in no `server_id`"
GRPCIO_CLIENT = {
    "client_compressed_streaming": "grpcio's client cannot leave a single request uncompressed",
    "orca_per_rpc": "grpcio's client keeps load reports from the application",
}
GRPCIO_SERVER = all_of("grpcio's server cannot tell whether a request came compressed", *PROBED)

GO_OUTGROWN = {
    "rst_during_data": (
        "= _, Internal, want _, Unknown",
        "grpc-go's program asks for UNKNOWN, grpc-go itself gives INTERNAL",
    )
}
JAVA_OUTGROWN: dict[str, tuple[str, str]] = dict.fromkeys(
    ("rst_after_header", "rst_during_data", "rst_after_data"),
    (
        "Received: RST_STREAM closed stream. HTTP/2 error code: NO_ERROR",
        "grpc-java's program asks for a text that grpc-java has changed",
    ),
)


def ours(face: str) -> Peer:
    return Python(f"{OURS} {face}", OURS, client_module="client", server_module="server", face=face)


def grpcio(name: str, face: str) -> Peer:
    return Python(
        name,
        "grpcio",
        GRPCIO_CLIENT,
        GRPCIO_SERVER,
        client_module="grpcio_client",
        server_module="grpcio_server",
        face=face,
    )


PEERS: tuple[Peer, ...] = (
    ours("asyncio"),
    ours("blocking"),
    Go("grpc-go", "go", GO_CLIENT, GO_SERVER, GO_OUTGROWN),
    Java("grpc-java", "java", {}, JAVA_SERVER, JAVA_OUTGROWN, built_in_certificates=True),
    grpcio("grpc.aio", "aio"),
    grpcio("grpcio", "blocking"),
)
