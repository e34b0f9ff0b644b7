from .._core.stream import Sink

class Exchange(Sink):
    """One call on one stream, as its wire sees it."""

class ServerWire:
    """What every wire does on the server's side. A wire has no state: one object serves all
    calls."""
