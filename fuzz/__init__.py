"""Coverage-guided fuzzing of the runtime: docs/how-to/fuzz-and-soak.md."""
