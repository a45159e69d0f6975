"""`batchlinks demo`: the sample roster against the stand-in, start to finish, in one process."""

import importlib.resources
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchlinks.config.settings import RunSettings
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
        environment = {
            "HEALTHEX_API_URL": server.url,
            "HEALTHEX_LINK_HOST": options.link_host,
            "HEALTHEX_API_KEY": options.api_key,
            "HEALTHEX_API_SECRET": options.api_secret,
            "BATCHLINKS_DATA_DIR": data,
        }
        settings = RunSettings(project_id=_PROJECT)
        return run(roster, settings, RunContext(environment=environment, is_trial=True), RunHooks(progress=progress))


def _sample() -> Path:
    """In the installed package, or beside it in a checkout."""
    packaged = Path(str(importlib.resources.files("batchlinks"))) / "sample_data" / SAMPLE
    return packaged if packaged.exists() else packaged.parents[2] / "sample_data" / SAMPLE


@contextmanager
def _no_proxy() -> Iterator[None]:
    """Within, calls go to the stand-in on this computer directly, whatever proxy the computer has."""
    before = os.environ.get("NO_PROXY")
    os.environ["NO_PROXY"] = "*"
    try:
        yield
    finally:
        if before is None:
            del os.environ["NO_PROXY"]
        else:
            os.environ["NO_PROXY"] = before
