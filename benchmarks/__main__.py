"""`python -m benchmarks [PART …]`: measure, say, and write it down."""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchlinks.version import __version__
from benchmarks.parts import PARTS
from benchmarks.report import draw, tables, write_into_page

RESULTS = Path(__file__).parent / "results.json"


def main() -> int:
    """Measure the parts that are asked for, and keep what other parts found before."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; all without one")
    wanted = parser.parse_args().parts or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"there is no part {unknown.pop()}; there is {', '.join(PARTS)}")
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    failed = []
    for part in wanted:
        began = time.monotonic()
        print(f"{part} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="batchlinks-bench-") as folder:
            try:
                results[part] = PARTS[part](Path(folder))
            except Exception as error:
                failed.append(part)
                print(f"{part} failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                continue
        print(f"{part}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        results["made"] = {
            "on": datetime.now(UTC).date().isoformat(),
            "version": __version__,
            "computer": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        }
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(tables(results))
    write_into_page(results)
    draw(results)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
