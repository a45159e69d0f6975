"""`batchlinks demo`: the sample roster against the stand-in, start to finish, in one process."""

import importlib.resources
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from batchlinks.config.settings import Config, RunSettings, ServeSettings
from batchlinks.errors import SettingsError
from batchlinks.logs import logger
from batchlinks.pipeline.context import RunContext, RunHooks
from batchlinks.pipeline.report import Report
from batchlinks.pipeline.run import run
from batchlinks.progress import Progress
from batchlinks.simulator import Simulator, SimulatorOptions

SAMPLE = "clinic_roster.xlsx"
_PROJECT = "demo-project"


def run_demo(output_dir: Path, *, progress: Progress) -> Report:
    """Copy the sample roster into `output_dir` and run it there. Leaves the user's ledger and audit log alone."""
    roster = output_dir / SAMPLE
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_sample(), roster)
    except OSError as error:
        raise SettingsError(
            f"The folder {output_dir} cannot be written ({error.strerror}). Use --output-dir."
        ) from error
    options = SimulatorOptions(latency_ms=20, jitter_ms=40, server_error_share=0.05)
    logger().info("A stand-in for HealthEx is started on this computer; its links lead nowhere.")
    with _no_proxy(), tempfile.TemporaryDirectory() as data, Simulator(options).running(record=False) as server:
        environment = _environment(server.url, options, data)
        settings = RunSettings(project_id=_PROJECT)
        return run(roster, settings, RunContext(environment=environment, is_trial=True), RunHooks(progress=progress))


def serve_demo(say: Callable[[str], object]) -> None:
    """Serve the upload page with the stand-in behind it, until Ctrl-C; nothing of it stays.

    Raises SettingsError where the page is not installed.
    """
    try:
        from batchlinks.web.application import serve_until_interrupted
    except ModuleNotFoundError as error:
        raise SettingsError('The upload page is not installed: pip install "batchlinks[web]".') from error
    options = SimulatorOptions(latency_ms=20, jitter_ms=40, server_error_share=0.05)
    logger().info(
        f"A stand-in for HealthEx is started on this computer; its links lead nowhere. A list to try: {_sample()}"
    )
    with _no_proxy(), tempfile.TemporaryDirectory() as data, Simulator(options).running(record=False) as server:
        told = _environment(server.url, options, data) | {"HEALTHEX_PROJECT_ID": _PROJECT}
        with _variables(told):  # the page's own processes read them
            serve_until_interrupted(ServeSettings(port=0), RunSettings(), Config(), say=say)


def _environment(url: str, options: SimulatorOptions, data: str) -> dict[str, str]:
    return {
        "HEALTHEX_API_URL": url,
        "HEALTHEX_LINK_HOST": options.link_host,
        "HEALTHEX_API_KEY": options.api_key,
        "HEALTHEX_API_SECRET": options.api_secret,
        "BATCHLINKS_DATA_DIR": data,
    }


def _sample() -> Path:
    """In the installed package, or beside it in a checkout."""
    packaged = Path(str(importlib.resources.files("batchlinks"))) / "sample_data" / SAMPLE
    return packaged if packaged.exists() else packaged.parents[2] / "sample_data" / SAMPLE


@contextmanager
def _no_proxy() -> Iterator[None]:
    """Within, calls go to the stand-in on this computer directly, whatever proxy the computer has."""
    with _variables({"NO_PROXY": "*"}):
        yield


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Within, the environment has these values."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
