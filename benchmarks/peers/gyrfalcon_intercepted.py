"""gyrfalcon with two interceptors on its server and two on its client."""

from __future__ import annotations

from benchmarks.peers.gyrfalcon_loop import Counting, Timing, call, serve
from benchmarks.peers.program import parse, run

if __name__ == "__main__":
    verb, loop, load = parse()
    interceptors = (Timing(), Counting())
    run(serve(load, interceptors) if verb == "serve" else call(load, interceptors), loop)
