"""The contract (`.proto`) and the code that `gyr generate` writes from it."""
