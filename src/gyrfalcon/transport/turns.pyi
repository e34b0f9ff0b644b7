from collections.abc import Callable
from typing import Any

class Turns:
    """Belongs to whoever runs the loop."""

    def __init__(self, loop: Callable[[], Any]) -> None: ...
    def begin(self) -> None: ...
