"""``python -m gyrfalcon.cli.worker NAME APPLICATION HANDOVER``: a worker of ``gyr serve``.

NAME is there for those who list processes.
"""

from __future__ import annotations

import json
import sys


def main(application: str, handover: str) -> int:
    """Serve; the exit status."""
    told = json.loads(application)
    # As in the process that started this one, before anything else is imported.
    sys.path[:] = told.pop("path")
    from gyrfalcon import workers

    worker = workers.Worker(handover)

    from .application import Application
    from .failures import WrongUse

    try:
        server = Application(**told).make_server(f"[worker {worker.number}] ")
    except WrongUse as error:
        worker.fail(error.message, hints=list(error.hints))
        return error.status
    worker.serve(server)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[2:]))
