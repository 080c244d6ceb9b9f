"""Recipe: what an image of the stack is made from, and the name that follows from it.

Pure, but for reading the stack's own files once. An image's name ends in a hash of all that goes
into it, its parent's name included: equal names mean equal images, whoever made them, so that
appliances share them and never change them under a running app.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ValidationError

REPOSITORY = "localhost/flynn-aio"
BASE = "base"
RUNNER = "runner"
BUILDER = "builder"
HASH_DIGITS = 12

_KEYS = frozenset({"from", "like", "packages", "files", "setup", "setup_from"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One image: what is added to its parent, in this order.

    Attributes:
        parent: name of the image it grows from; empty for the base.
        packages: Debian packages, sorted.
        files: path inside -> content; executable where the shipped file is.
        setup: shell lines, run as root at the end.
    """

    name: str
    parent: str = ""
    packages: tuple[str, ...] = ()
    files: Mapping[str, "File"] = field(default_factory=dict)
    setup: str = ""


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    executable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StackRecipe:
    """A stack: its images by name, parents before their children.

    Attributes:
        codename: the Debian release, e.g. ``bookworm``.
        cf_stack: what buildpacks read from `CF_STACK`.
        image: registry image the base may come from; empty means always from a mirror.
        install: the script that turns a recipe into an image, inside.
        images: image name -> recipe.
    """

    name: str
    codename: str
    cf_stack: str
    image: str
    install: bytes
    images: Mapping[str, Recipe]

    def reference(self, name: str) -> str:
        """Return the name of an image in the engine: ``localhost/flynn-aio/debian-12/runner:0123456789ab``."""
        return f"{REPOSITORY}/{self.name}/{name}:{self.digest(name)}"

    def digest(self, name: str) -> str:
        """Return the hash of all that goes into an image."""
        recipe = self.images[name]
        ground = self.reference(recipe.parent) if recipe.parent else f"{self.image} {self.codename}"
        parts = [
            ground.encode(),
            self.install,
            " ".join(recipe.packages).encode(),
            recipe.setup.encode(),
        ]
        for path, file in sorted(recipe.files.items()):
            parts += [path.encode(), b"x" if file.executable else b"-", file.content]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(f"{len(part)}:".encode() + part)
        return digest.hexdigest()[:HASH_DIGITS]

    def lineage(self, name: str) -> list[Recipe]:
        """Return what must be made for an image, from the base up to itself."""
        recipe = self.images[name]
        return [*(self.lineage(recipe.parent) if recipe.parent else []), recipe]

    def runner(self, language: str | None) -> str:
        """Return the image apps of a language run in; the plain runner where it has none of its own."""
        return self._own(RUNNER, language)

    def builder(self, language: str | None) -> str:
        """Return the image apps of a language are built in; the plain builder where it has none of its own."""
        return self._own(BUILDER, language)

    def _own(self, kind: str, language: str | None) -> str:
        name = f"{kind}-{language}"
        return name if name in self.images else kind


def read_stack(folder: Path, *, image: str) -> StackRecipe:
    """Read a stack's folder: `stack.toml`, `install`, and the files they name.

    Args:
        image: the registry image the base may come from.

    Raises:
        ValidationError: `stack.toml` says something that cannot be.
    """
    where = folder / "stack.toml"
    try:
        table = tomllib.loads(where.read_text())
        images = _images(folder, table["image"])
        stack = StackRecipe(
            name=folder.name,
            codename=table["codename"],
            cf_stack=table["cf_stack"],
            image=image,
            install=(folder / "install").read_bytes(),
            images=images,
        )
    except KeyError as exc:
        raise ValidationError(f"cannot read the stack {folder.name}: {where} does not say {exc}") from exc
    except (OSError, TypeError, tomllib.TOMLDecodeError) as exc:
        raise ValidationError(f"cannot read the stack {folder.name} from {where}: {exc}") from exc
    missing = {BASE, RUNNER, BUILDER} - stack.images.keys()
    if missing:
        raise ValidationError(f"the stack {folder.name} in {where} has no image {', '.join(sorted(missing))}")
    return stack


def _images(folder: Path, tables: Mapping[str, Any]) -> dict[str, Recipe]:
    images: dict[str, Recipe] = {}
    for name, table in tables.items():
        unknown = table.keys() - _KEYS
        if unknown:
            raise ValidationError(f"image {name}: unknown keys {', '.join(sorted(unknown))}")
        parent = table.get("from", "")
        for other in (*([parent] if parent else []), *table.get("like", [])):
            if other not in images:
                raise ValidationError(f"image {name}: {other} must be described before it")
        alike = [images[other] for other in table.get("like", [])]
        images[name] = Recipe(
            name=name,
            parent=parent,
            packages=tuple(sorted({*table.get("packages", []), *(p for other in alike for p in other.packages)})),
            files={
                **{path: file for other in alike for path, file in other.files.items()},
                **{path: _read(folder / source) for path, source in table.get("files", {}).items()},
            },
            setup="".join([*(other.setup for other in alike), table.get("setup", ""), _text(folder, table)]),
        )
    return images


def _text(folder: Path, table: Mapping[str, Any]) -> str:
    return (folder / table["setup_from"]).read_text() if "setup_from" in table else ""


def _read(path: Path) -> File:
    return File(path.read_bytes(), bool(path.stat().st_mode & 0o100))
