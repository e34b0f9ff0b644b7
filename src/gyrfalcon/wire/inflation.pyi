class Inflation:
    """One message, inflated in parts."""

    @property
    def done(self) -> bool: ...
