"""What a fresh machine with only Python gets: the wheel, its programs, the container. Slow: each installs everything anew."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.request import urlopen

import pytest
import results
from conftest import PROJECT

from batchlinks.simulator import RunningSimulator
from batchlinks.version import __version__

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
INSTALL_S = 900.0
LOCKS = ("requirements.lock", "requirements-cluster.lock", "requirements-dev.lock")


# --- the locks ------------------------------------------------------------------------------------------------


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_no_two_locks_contradict_each_other_and_production_needs_no_tests() -> None:
    production, cluster, dev = map(pins, LOCKS)

    assert production.items() <= dev.items() and cluster.items() <= dev.items()
    assert not {"pytest", "mypy", "playwright", "moto", "ruff", "distributed"} & production.keys()
    assert {"fastapi", "apprise", "s3fs", "paramiko", "python-docx", "hatchling", "editables"} <= production.keys()
    assert "distributed" in cluster


def test_whatever_is_an_extra_is_named_with_its_size_in_the_readme() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys() - {"dev"}
    readme = (ROOT / "README.md").read_text()

    named = re.findall(r"^\| `batchlinks\[(\w+)\]` \|.*\| \d+ MB \| \d+ \|$", readme, re.MULTILINE)
    assert sorted(named) == sorted(extras)


# --- the wheel ------------------------------------------------------------------------------------------------


@cache
def find_python(version: str) -> str | None:
    """Of this machine, also one of pyenv's that is not switched on."""
    pyenv = os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")
    for found in (shutil.which(f"python{version}"), *Path(pyenv).glob(f"versions/{version}.*/bin/python")):
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return str(found)
    return None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make dist` builds it, from what is checked in."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"batchlinks-{__version__}-py3-none-any.whl", f"batchlinks-{__version__}.tar.gz"]
    return folder / names[0]


def new_environment(folder: Path, python: str) -> Path:
    """Its folder of programs."""
    subprocess.run([python, "-m", "venv", folder], check=True, timeout=120)
    return folder / "bin"


@pytest.fixture(scope="module", params=PYTHONS)
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The programs of an environment that holds production's packages and the wheel, and nothing else."""
    python = find_python(request.param)
    if python is None:
        pytest.skip(f"Python {request.param} is not on this machine")
    programs = new_environment(tmp_path_factory.mktemp("installed"), python)
    pip = [str(programs / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    lock = ["--require-hashes", "--requirement", str(ROOT / "requirements.lock")]
    subprocess.run([*pip, *lock], check=True, timeout=INSTALL_S)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True, timeout=120)
    return programs


def installed_environment(programs: Path) -> dict[str, str]:
    """Of a user of that machine: nothing of this checkout, nor of the environment that the tests run in."""
    apart = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return apart | {"PATH": f"{programs}:/usr/bin:/bin", "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}


@pytest.mark.slow
@pytest.mark.timeout(INSTALL_S)
def test_a_wheel_in_a_fresh_environment_runs_demo_page_and_night(
    programs: Path, healthex: RunningSimulator, tmp_path: Path
) -> None:
    environment = installed_environment(programs)

    demo = subprocess.run(
        ["batchlinks", "demo"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (demo.returncode, demo.stdout.splitlines()[-1].startswith("Done: 38 of 51 patients")) == (3, True), (
        demo.stderr
    )

    with started(["batchlinks", "serve", "--port", "0"], tmp_path, environment) as address:
        assert b"patient list" in urlopen(address, timeout=30).read()

    inbox, outbox = tmp_path / "inbox", tmp_path / "outbox"
    inbox.mkdir()
    (inbox / "patients.csv").write_text("MRN\n5001000\n5001001\n")
    night = [
        "batchlinks",
        "nightly",
        "--inbox",
        str(inbox),
        "--outbox",
        str(outbox),
        "--id-column",
        "MRN",
        "--settle",
        "0",
    ]
    ended = subprocess.run(night, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    (workbook,) = outbox.glob("*/patients.links.xlsx")
    assert [row["link"] for row in results.links(workbook)] == [healthex.links[mrn] for mrn in ("5001000", "5001001")]

    version = subprocess.run(["batchlinks", "--version"], env=environment, capture_output=True, text=True, check=True)
    assert __version__ in version.stdout


class started:  # noqa: N801 reads as a verb
    """A server, for as long as the block runs; gives the address that it prints."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"http://\S+", line):
                return found[0]
        raise AssertionError("it ended without an address")

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=60)


# --- the container --------------------------------------------------------------------------------------------


def steps(containerfile: Path) -> Iterator[tuple[str, str]]:
    """Each instruction and what follows it."""
    text = re.sub(r"^#.*\n", "", containerfile.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip():
            instruction, _, rest = line.partition(" ")
            yield instruction, rest.strip()


@pytest.mark.slow
@pytest.mark.timeout(INSTALL_S)
def test_the_steps_of_the_container_end_in_a_night_that_runs(
    wheel: Path, healthex: RunningSimulator, tmp_path: Path
) -> None:
    """Taken one after the other below a folder that stands for the container's root, by a Python of the version it names."""
    root, context = tmp_path / "root", tmp_path / "context"
    (context / "dist").mkdir(parents=True)
    shutil.copy(wheel, context / "dist")
    shutil.copy(ROOT / "requirements.lock", context)
    environment: dict[str, str] = {}
    here, command = root, []
    for instruction, rest in steps(ROOT / "docs" / "operations" / "Containerfile"):
        match instruction:
            case "FROM":
                version = re.fullmatch(r"docker\.io/library/python:(3\.\d+)-slim", rest)
                assert version is not None
                python = find_python(version[1]) or sys.executable
                environment = installed_environment(new_environment(root / "usr", python))
            case "ENV":
                name, _, value = rest.partition("=")
                environment[name] = f"{root}{value}"
            case "WORKDIR":
                here = root / rest.removeprefix("/")
                here.mkdir(parents=True)
            case "COPY":
                *sources, target = shlex.split(rest)
                for pattern in sources:
                    for source in context.glob(pattern):
                        shutil.copy(source, here / target)
            case "RUN":
                if os.geteuid() != 0:  # only root gives files away
                    rest = re.sub(r" -[og] \d+", "", rest)
                subprocess.run(["sh", "-ec", rest], cwd=here, env=environment, check=True, timeout=INSTALL_S)
            case "ENTRYPOINT" | "CMD":
                command += json.loads(rest)
            case "USER":
                assert rest == "10001:10001"
            case "VOLUME":
                assert (root / rest.removeprefix("/")).is_dir()
            case _:
                raise AssertionError(f"{instruction} is not tried")

    settings = root / "etc" / "batchlinks" / "batchlinks.toml"
    settings.parent.mkdir(parents=True)
    inbox, outbox = root / "srv" / "batchlinks" / "inbox", root / "srv" / "batchlinks" / "outbox"
    inbox.mkdir(parents=True)
    outbox.mkdir()
    settings.write_text(f'inbox = "{inbox}"\noutbox = "{outbox}"\nid-column = "MRN"\nsettle = 0\n')
    (inbox / "patients.csv").write_text("MRN\n5001000\n")
    given = [f"{root}{argument}" if argument.startswith("/") else argument for argument in command]
    ended = subprocess.run(given, cwd=here, env=environment, capture_output=True, text=True, timeout=120)

    assert ended.returncode == 0, ended.stderr
    assert [path.parent.parent for path in outbox.glob("*/patients.links.xlsx")] == [outbox]
    assert (Path(environment["BATCHLINKS_DATA_DIR"]) / "ledger.sqlite3").is_file()
    assert environment["HEALTHEX_PROJECT_ID"] == PROJECT and healthex.link_calls == 1
