"""Doctor: what is said of a Podman that does not work."""

import re
from pathlib import Path

import pytest
import trio

from flynn_aio.engine import probe_host
from flynn_aio.settings import EngineSettings

PODMAN_5 = "#!/bin/sh\necho podman version 5.4.2\n"
PODMAN_3 = "#!/bin/sh\necho podman version 3.0.1\n"
BROKEN = "#!/bin/sh\necho a library is missing >&2\nexit 127\n"
NO_PROGRAM = "#!/no/such/interpreter\n"


@pytest.mark.parametrize(
    ("script", "ok", "text"),
    [
        (PODMAN_5, True, "podman version 5.4.2"),
        (PODMAN_3, False, "version 4.3 or newer is needed"),
        (BROKEN, False, "does not run: .* 127"),
        (NO_PROGRAM, False, "does not run: .*No such file"),
        (None, False, "is not in"),
    ],
)
def test_what_is_said_of_podman(tmp_path: Path, script: str | None, ok: bool, text: str):
    podman = tmp_path / "podman"
    if script:
        podman.write_text(script)
        podman.chmod(0o755)
    places = dict.fromkeys(("run_dir", "log_dir", "slug_dir", "layer_dir", "volume_dir"), tmp_path)
    settings = EngineSettings(appliance="00000000", podman=str(podman), **places)
    [finding] = [finding for finding in trio.run(probe_host, settings) if finding.name == "podman"]
    assert finding.ok is ok
    assert re.search(text, finding.text)
