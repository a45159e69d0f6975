"""For Dask workers (`--preload`): calls are answered after fifty milliseconds, by nobody. So the command is what bounds a run."""

import asyncio
from typing import Any

from batchlinks.healthex.api import HealthExApi, Issued
from batchlinks.simulator import SimulatorOptions
from benchmarks.scene import PROJECT

_PAGE = f"https://{SimulatorOptions().link_host}/#/patient-consent/{PROJECT}/enrollment/link?xid="


async def _ask_link(_self: object, external_id: str, _token: str) -> Issued:
    await asyncio.sleep(0.05)
    return Issued(f"{_PAGE}{external_id}.{'s' * 43}")


def dask_setup(_worker: Any) -> None:
    """Called by Dask in the worker."""
    HealthExApi.ask_link = _ask_link  # type: ignore[method-assign,assignment]
