"""Run seeds until one fails: `python -m tests.simulation --seed 1 --seeds 20 --steps 10000`."""

import argparse
import sys

from .history import Violation
from .run import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=20, help="how many, one after the other")
    parser.add_argument("--steps", type=int, default=10_000, help="steps of each")
    asked = parser.parse_args()
    failed = 0
    for seed in range(asked.seed, asked.seed + asked.seeds):
        try:
            print(simulate(seed, asked.steps), flush=True)
        except Violation as exc:
            failed += 1
            print(f"{exc}\n", flush=True)
    print(f"{asked.seeds} seeds, {asked.seeds * asked.steps} steps, {failed} violations")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
