"""Gyrfalcon beside other gRPC implementations: ``python -m benchmarks``."""
