"""`config/` is found from a checkout and from an installed wheel alike."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from flynn_aio.errors import NotFound
from flynn_aio.receive.shipped import publish, shipped

ROOT = Path(__file__).parents[2]


def test_what_is_shipped_is_the_folder_config():
    assert shipped("buildpacks").resolve() == ROOT / "config" / "buildpacks"


def test_what_is_missing_says_so():
    with pytest.raises(NotFound, match="install flynn-aio again"):
        shipped("stacks/plan9")


def test_a_published_copy_may_be_read_by_anybody(tmp_path):
    before = os.umask(0o077)
    try:
        copy = publish("buildpacks", tmp_path / "work")
    finally:
        os.umask(before)
    assert publish("buildpacks", tmp_path / "work") == copy
    assert [path.name for path in (tmp_path / "work").iterdir()] == [copy.name]
    for path in (copy, *copy.rglob("*")):
        original = shipped("buildpacks") / path.relative_to(copy)
        assert path.stat().st_mode & 0o777 == (0o755 if os.access(original, os.X_OK) else 0o644)
        assert path.is_dir() or path.read_bytes() == original.read_bytes()


@pytest.mark.slow
def test_an_installed_wheel_brings_it_along(tmp_path):
    """The build runs offline: setuptools of the running environment makes the wheel."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    # A copy, since setuptools leaves build/ and egg-info beside the sources.
    subprocess.run(
        [
            "cp",
            "-a",
            *(str(ROOT / name) for name in ("pyproject.toml", "LICENSE", "flynn_aio", "config")),
            str(tmp_path),
        ],
        check=True,
    )
    (tmp_path / "README.md").touch()
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--python", str(python), "install", "--no-deps", str(tmp_path)],
        check=True,
        cwd=tmp_path,
    )
    found = subprocess.run(
        [str(python), "-c", "import importlib.resources as r; print(r.files('flynn_aio') / 'config_files')"],
        check=True,
        cwd="/",
        capture_output=True,
        text=True,
    )
    installed = Path(found.stdout.strip())
    assert installed.is_relative_to(tmp_path / "venv")
    assert _files(installed) == _files(ROOT / "config")


def _files(folder):
    return {
        str(path.relative_to(folder)): (os.access(path, os.X_OK), path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }
