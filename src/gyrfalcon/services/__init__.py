"""gRPC's own services: health, reflection, channelz, load reports.

Pass them to a server beside your own:

    gyr.Server([Orders(), gyr.services.Health(), gyr.services.Reflection()])

Each is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .channelz import Channelz as Channelz
    from .health import Health as Health
    from .health import ServingStatus as ServingStatus
    from .orca import LoadReport as LoadReport
    from .orca import Orca as Orca
    from .reflection import Reflection as Reflection

__all__ = ["Channelz", "Health", "LoadReport", "Orca", "Reflection", "ServingStatus"]

_HOMES = {
    "Channelz": "channelz",
    "Health": "health",
    "LoadReport": "orca",
    "Orca": "orca",
    "Reflection": "reflection",
    "ServingStatus": "health",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
