class Turns:
    """Belongs to whoever runs the loop."""

    def begin(self) -> None: ...
