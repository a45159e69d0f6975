"""A local stand-in for the HealthEx API: as strict as its public documentation, as unreliable as it is told.

`SimulatorOptions` costs nothing to import; the server itself is imported when `Simulator` is first used.
"""

from typing import TYPE_CHECKING

from batchlinks.simulator.behavior import SimulatorOptions

if TYPE_CHECKING:
    from batchlinks.simulator.server import Call, RunningSimulator, Simulator

__all__ = ["Call", "RunningSimulator", "Simulator", "SimulatorOptions"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from batchlinks.simulator import server

    return getattr(server, name)
