"""The server that h2spec is let loose on: an ordinary one, with the health service.

    python -m tests.h2spec.server [--address 127.0.0.1:8080] [--cert FILE --key FILE]

h2spec sends `GET /`, which is no gRPC call: the answer is HTTP status 405 with a short text, and
that text is the DATA that its cases of flow control want.
"""

from __future__ import annotations

import argparse

import gyrfalcon as gyr


def make_server(tls: gyr.ServerTLS | None = None) -> gyr.Server:
    return gyr.Server([gyr.services.Health()], grace=0, tls=tls)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.h2spec.server")
    parser.add_argument("--address", default="127.0.0.1:8080")
    parser.add_argument("--cert", help="PEM of the certificate: with TLS")
    parser.add_argument("--key", help="PEM of its private key")
    options = parser.parse_args()
    tls = gyr.ServerTLS(options.cert, options.key) if options.cert else None
    make_server(tls).run(options.address)


if __name__ == "__main__":
    main()
