"""`python -m bench`: measure, print the report, write it to `bench/results/`."""

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from .figures import Row, as_json, table
from .machine import describe, summary
from .place import open_place
from .rows import FULL, QUICK, SUBJECTS

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the appliance; see bench/README.md.")
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)}; default all")
    parser.add_argument("--quick", action="store_true", help="fewer samples, and 10 s of idleness instead of 60")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--name", help="of the file in bench/results; default the time")
    asked = parser.parse_args()
    if unknown := [subject for subject in asked.subjects if subject not in SUBJECTS]:
        parser.error(f"unknown subject {unknown[0]!r}: there are {', '.join(SUBJECTS)}")
    if os.geteuid() != 0:
        print("error: the appliance needs root; type: sudo make bench", file=sys.stderr)
        return 1
    # A Python that may not keep its bytecode would compile everything at every start; nobody's machine does.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

    machine = describe()
    print(f"{summary(machine)}\n")
    rows: list[Row] = []
    with open_place() as place:
        for subject in SUBJECTS:
            if subject in asked.subjects or not asked.subjects:
                measured = SUBJECTS[subject](place, QUICK if asked.quick else FULL)
                print(table(measured), flush=True)
                rows += measured
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{asked.name or datetime.now(UTC).strftime('%Y-%m-%dT%H%M%S')}.json"
    file.write_text(json.dumps(as_json(rows, machine), indent=2) + "\n")
    print(f"\n{file}")
    if missed := [row.title for row in rows if row.is_missed]:
        print(f"missed: {', '.join(missed)}")
    return 1 if missed and asked.strict else 0


if __name__ == "__main__":
    sys.exit(main())
