"""``bench.proto``, and what ``python -m benchmarks.generate`` makes of it for all peers."""
