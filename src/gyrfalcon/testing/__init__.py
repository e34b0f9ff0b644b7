"""Testing services and what calls them: real servers and channels, joined in memory.

Names are loaded when they are first used: pytest loads the plugin in every project.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gyrfalcon import Faults as Faults
    from gyrfalcon import ManualClock as Clock
    from gyrfalcon import MemoryNetwork as MemoryNetwork

    from .serving import Serving as Serving
    from .serving import serve as serve

__all__ = ["Clock", "Faults", "MemoryNetwork", "Serving", "serve"]

_HOMES = {
    "Clock": ("gyrfalcon", "ManualClock"),
    "Faults": ("gyrfalcon", "Faults"),
    "MemoryNetwork": ("gyrfalcon", "MemoryNetwork"),
    "Serving": ("gyrfalcon.testing.serving", "Serving"),
    "serve": ("gyrfalcon.testing.serving", "serve"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
