"""The client of gRPC's interoperability tests, on stock grpcio: the cases are those of `client`.

python -m tests.interop.grpcio_client --server_port=8080 --test_case=large_unary [--face=aio]
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import grpc

from tests.interop import flags
from tests.interop.faces import Face
from tests.interop.grpcio_faces import GrpcAio, GrpcBlocking
from tests.interop.running import run_cases

FACES: dict[str, Callable[..., Face]] = {"aio": GrpcAio, "blocking": GrpcBlocking}


def main() -> None:
    arguments = flags.client_parser(__doc__, tuple(FACES)).parse_args()
    credentials: grpc.ChannelCredentials | None = None
    if arguments.use_tls:
        ca = flags.trusted(arguments)
        credentials = grpc.ssl_channel_credentials(None if ca is None else ca.read_bytes())
    target = f"{arguments.server_host}:{arguments.server_port}"
    face = FACES[arguments.face](target, credentials, arguments.server_host_override)
    sys.exit(run_cases(face, arguments))


if __name__ == "__main__":
    main()
