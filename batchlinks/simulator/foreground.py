"""`batchlinks simulate`: the stand-in in the foreground, until it is told to stop."""

import asyncio
import signal
from collections.abc import Callable

from batchlinks.errors import SettingsError
from batchlinks.simulator.behavior import SimulatorOptions
from batchlinks.simulator.server import Simulator, new_event_loop


def serve_until_interrupted(options: SimulatorOptions, host: str, port: int, *, say: Callable[[str], object]) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises SettingsError when the address is taken or is none of this machine's."""

    def ready(url: str) -> None:
        say(f"A stand-in for HealthEx listens on {url}. To use it, in another terminal:")
        say(f"  export HEALTHEX_API_URL={url} HEALTHEX_LINK_HOST={options.link_host}")
        say(f"  export HEALTHEX_API_KEY={options.api_key} HEALTHEX_API_SECRET={options.api_secret}")
        say(f"  batchlinks run ROSTER --project-id {options.projects[0] if options.projects else 'PROJECT'}")

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def stop_soon(_number: int, _frame: object) -> None:
            loop.call_soon_threadsafe(stop.set)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop_soon)
        await Simulator(options).serve(host, port, ready, stop)

    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(serve())
    except OSError as error:
        raise SettingsError(
            f"The stand-in cannot listen on {host}, port {port} ({error.strerror or 'in use?'})."
        ) from error
