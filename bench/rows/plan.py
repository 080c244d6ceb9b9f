"""The control plane of many apps, in memory: what a plan, an idle pass and one change cost, and what it all holds."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..figures import Row, figure, ratio

FEW, SOME, MANY = 10, 167, 1000
"""Apps of three jobs each; the second comes to 501 jobs."""
PLAN_MS = 10.0
IDLE_MS = 1.0
GROWTH = 3.0
"""How much dearer the same change may be among a hundred times as many apps."""
RESIDENT_MB = 200.0
TIMEOUT_S = 600.0


def measure() -> list[Row]:
    """Return the rows; each number of apps is measured in a process of its own."""
    few, some, many = (_measured(apps) for apps in (FEW, SOME, MANY))
    scaled, scaled_few = figure("ms", many["scale_ms"]), figure("ms", few["scale_ms"])
    touched, touches = figure("ms", many["touch_ms"]), figure("ms", many["touches_ms"])
    return [
        Row(
            key="plan",
            title=f"{some['jobs']} jobs planned, CPU",
            shown=figure("ms", some["plan_ms"]),
            target=PLAN_MS,
            beside={f"{many['jobs']} jobs": figure("ms", many["plan_ms"])},
        ),
        Row(
            key="idle pass",
            title=f"a pass with nothing to do, {some['jobs']} jobs, CPU",
            shown=figure("ms", some["idle_ms"]),
            target=IDLE_MS,
            beside={f"{many['jobs']} jobs": figure("ms", many["idle_ms"])},
        ),
        Row(
            key="one change",
            title=f"one job more or less among {MANY} apps / among {FEW}, CPU",
            shown=ratio(scaled, scaled_few),
            target=GROWTH,
            beside={f"among {MANY}": scaled, f"among {FEW}": scaled_few},
        ),
        Row(
            key="many changes",
            title="100 apps changed at once / one app, CPU",
            shown=ratio(touches, touched),
            target=100.0,
            beside={"100 apps": touches, "one": touched},
        ),
        Row(
            key="many apps",
            title=f"resident, {MANY} apps x 3 jobs in memory",
            shown=figure("MB", [many["resident_mb"]]),
            target=RESIDENT_MB,
            beside={f"{FEW} apps": figure("MB", [few["resident_mb"]])},
        ),
    ]


def _measured(apps: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.many_apps", str(apps)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT_S, cwd=Path(__file__).parents[2])
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured
