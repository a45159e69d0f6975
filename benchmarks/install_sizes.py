"""How large an installation is: the package alone, and with each extra. `python -m benchmarks.install_sizes`.

Each is installed into an environment of its own, without pip in it, as `pip install "batchlinks[…]"` does it.
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LARGE = ("numpy", "numpy.libs", "pandas", "pyarrow")
_MEGABYTE = 1_000_000


def main() -> None:
    """Print a row for the package alone, for each extra, and for all of them."""
    extras = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text())["project"]["optional-dependencies"]
    print("| install | MB | of these pandas, numpy, pyarrow | packages |\n|---|---|---|---|")
    for extra in ["", *sorted(extras.keys() - {"dev"})]:
        name = f"batchlinks[{extra}]" if extra else "batchlinks"
        with tempfile.TemporaryDirectory() as folder:
            packages = install(Path(folder), f"{ROOT}[{extra}]" if extra else str(ROOT))
            of_these = sum(_size(packages / each) for each in _LARGE)
            count = len(list(packages.glob("*.dist-info")))
            print(f"| `{name}` | {_size(packages) // _MEGABYTE} | {of_these // _MEGABYTE} | {count} |", flush=True)


def install(folder: Path, what: str) -> Path:
    """Into a new environment in `folder`. Returns where the packages are."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, what], check=True)
    asked = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    return Path(subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout.strip())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
