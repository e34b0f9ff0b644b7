"""Mixed load for a long time among faults: docs/how-to/fuzz-and-soak.md."""
