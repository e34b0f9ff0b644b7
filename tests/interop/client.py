"""The client of gRPC's interoperability tests, on Gyrfalcon.

    python -m tests.interop.client --server_port=8080 --test_case=large_unary [--face=blocking]

Several cases may be given, with commas between them; `all` stands for those that any test server
serves. Exits with 1 when one of them failed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import gyrfalcon as gyr
from tests.interop import flags
from tests.interop.faces import Face, GyrfalconAsyncio, GyrfalconBlocking
from tests.interop.running import run_cases

FACES: dict[str, Callable[..., Face]] = {"asyncio": GyrfalconAsyncio, "blocking": GyrfalconBlocking}


def main() -> None:
    arguments = flags.client_parser(__doc__, tuple(FACES)).parse_args()
    options: dict[str, Any] = {}
    if arguments.use_tls:
        options["tls"] = gyr.ClientTLS(
            ca=flags.trusted(arguments), server_name=arguments.server_host_override
        )
    target = f"{arguments.server_host}:{arguments.server_port}"
    face = FACES[arguments.face](target, **options)
    sys.exit(run_cases(face, arguments))


if __name__ == "__main__":
    main()
