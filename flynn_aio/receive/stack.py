"""Stack: the images apps are built and run in, made when first needed.

Base, runner and builder serve every app; a language's own pair is made at the first push of that
language. An image is made by running its recipe in a container of its parent through the engine
and committing the result only when the recipe ended well, so a cancelled or failed attempt leaves
nothing, and the next one starts where the finished images end.

Names in a build resolve through the host's own resolver, mounted as `resolv.conf`: images can be
made before discoverd answers, and need no name of ours.
"""

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from ..engine import Engine, JobSpec, Mount, Partition
from ..errors import EngineError, FlynnError
from ..model import AppID, Artifact, JobID
from ..settings import BuildSettings
from .host import BUILD_SETTINGS, Host, read_host, shell_exports
from .output import Say
from .recipe import Recipe, StackRecipe, read_stack
from .release import runner_artifact
from .shipped import publish, shipped
from .step import CLEANUP_S, run_program, show_output

STACK_APP = AppID("00000000-0000-4000-8000-000000000012")
"""The app image builds are labelled with. It is in no database: nobody pushes to, scales or lists it."""
STACK_APP_NAME = "stack"

PULL_TIMEOUT_S = 45.0
"""For a registry to send the base image. A mirror does the same in half that time, so waiting longer is no gain."""
CONTAINER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class StackError(FlynnError):
    """An image of the stack could not be made. Nothing half made is left; the next push tries again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackImages:
    """What a push needs of the stack.

    Attributes:
        runner, builder: names in the engine; both exist.
        cf_stack: the value of `CF_STACK` in builds.
        buildpacks: the built-in buildpacks on the host, readable for uid 5000.
    """

    runner: str
    builder: str
    cf_stack: str
    buildpacks: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StackImage:
    """An image of the stack as `flynn-aio stack list` shows it."""

    name: str
    image: str
    present: bool


def plain_images(settings: BuildSettings) -> tuple[Artifact, Artifact]:
    """Return the runner and the builder for apps of no particular language, made already or not. Blocks: files."""
    recipe = read_stack(shipped(f"stacks/{settings.stack}"), image=settings.stack_image)
    runner, builder = (runner_artifact(recipe.reference(name)) for name in (recipe.runner(None), recipe.builder(None)))
    return runner, builder


class Stack:
    """Makes and names the images of one stack."""

    def __init__(self, settings: BuildSettings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._recipe: StackRecipe = read_stack(shipped(f"stacks/{settings.stack}"), image=settings.stack_image)
        self._making = trio.Lock()

    async def ensure(self, language: str | None, say: Say) -> StackImages:
        """Return the images for apps of a language, and make those that are missing.

        One image is made at a time. Another appliance on this machine may make the same one at
        the same moment: equal recipes give equal images, and the first one stays.

        Args:
            language: name of the buildpack; ``None`` or one without images of its own gets the plain pair.
            say: told what is being made; silent when nothing is missing.

        Raises:
            StackError: an image could not be made; the message has the reason and the last lines.
            EngineError: the engine refuses or does not answer.

        Cancellation: images that were finished stay, the one in the making leaves nothing.
        """
        runner, builder = self._recipe.runner(language), self._recipe.builder(language)
        if not (await self._is_present(runner) and await self._is_present(builder)):
            if self._making.locked():
                await say("-----> Waiting for another push, which makes images of the stack")
            async with self._making:
                await self._make_lineage(runner, say)
                await self._make_lineage(builder, say)
        return StackImages(
            runner=self._recipe.reference(runner),
            builder=self._recipe.reference(builder),
            cf_stack=self._recipe.cf_stack,
            buildpacks=await trio.to_thread.run_sync(publish, "buildpacks", self._settings.work_dir),
        )

    async def list(self) -> list[StackImage]:
        """Return every image of the stack, parents before children, and whether it is there."""
        return [
            StackImage(name=name, image=self._recipe.reference(name), present=await self._is_present(name))
            for name in self._recipe.images
        ]

    async def _is_present(self, name: str) -> bool:
        return await self._engine.image_exists(self._recipe.reference(name))

    async def _make_lineage(self, name: str, say: Say) -> None:
        """Make an image and those of its ancestors that it lacks; a present image needs no ancestors."""
        missing: list[Recipe] = []
        for recipe in reversed(self._recipe.lineage(name)):
            if await self._is_present(recipe.name):
                break
            missing.append(recipe)
        for recipe in reversed(missing):
            await say(f"-----> Making the stack image {recipe.name} (once on this machine)")
            await self._make(recipe, say)

    async def _make(self, recipe: Recipe, say: Say) -> None:
        async with _workplace(self._settings.work_dir, recipe.name) as place:
            host = await trio.to_thread.run_sync(read_host, self._recipe.codename)
            await trio.to_thread.run_sync(self._lay_out, place, recipe, host)
            if recipe.parent:
                await self._install(recipe, self._recipe.reference(recipe.parent), place, host, say)
            elif await self._pull(say):
                await self._install(recipe, self._recipe.image, place, host, say)
            else:
                tar = await self._bootstrap(recipe, place, host, say)
                await self._engine.import_image(tar, self._recipe.reference(recipe.name))

    def _lay_out(self, place: Path, recipe: Recipe, host: Host) -> None:
        """Write what `install` finds under /mnt."""
        settings, env = self._settings, dict(os.environ)
        conf = host.apt_conf + BUILD_SETTINGS
        if host.sources:
            conf += 'Dir::Etc::SourceList "/mnt/sources.list";\nDir::Etc::SourceParts "-";\n'
        if host.apt_auth:
            conf += 'Dir::Etc::netrc "/mnt/auth.conf";\n'
        if settings.ca_bundle and settings.ca_bundle.is_file():
            conf += 'Acquire::https::CAInfo "/mnt/ca.crt";\n'
            shutil.copyfile(settings.ca_bundle, place / "ca.crt")
        texts = {
            "apt.conf": conf,
            "auth.conf": host.apt_auth,
            "env": shell_exports(settings.pass_env, env),
            "packages": " ".join(recipe.packages),
            "resolv.conf": host.resolv_conf or "",
            "setup": recipe.setup,
            "sources.list": "".join(f"{line}\n" for line in host.sources),
        }
        for name, text in texts.items():
            (place / name).write_text(text)
        (place / "install").write_bytes(self._recipe.install)
        _write_tree(place / "files", recipe)

    async def _pull(self, say: Say) -> bool:
        """Try to get the base from a registry; ``False`` when none answers in time, or none is set."""
        image = self._recipe.image
        if not image:
            return False
        if await self._engine.image_exists(image):
            return True
        reason = f"no answer within {PULL_TIMEOUT_S:.0f} s"
        with trio.move_on_after(PULL_TIMEOUT_S):
            try:
                await self._engine.pull_image(image)
                if await self._engine.image_exists(image):
                    return True
                reason = "it was said to be pulled, and is not there"
            except EngineError as exc:
                reason = exc.message
        await say(f"       {image} is not to be had from a registry, a Debian mirror is used instead")
        await say(f"       ({reason.splitlines()[0][:200] if reason else 'no reason given'})")
        return False

    async def _install(self, recipe: Recipe, image: str, place: Path, host: Host, say: Say) -> None:
        """Run a recipe in a container of `image`, and name the result if it ends well."""
        archives, lists = (self._settings.cache_dir / "apt" / name for name in ("archives", "lists"))
        for folder in (archives, lists):
            (folder / "partial").mkdir(parents=True, exist_ok=True)
        mounts = [
            Mount(source=place, target="/mnt"),
            Mount(source=archives, target="/var/cache/apt/archives", writable=True),
            Mount(source=lists, target="/var/lib/apt/lists", writable=True),
        ]
        if host.resolv_conf:
            mounts.append(Mount(source=place / "resolv.conf", target="/etc/resolv.conf"))
        spec = JobSpec(
            id=JobID(str(uuid.uuid4())),
            app=STACK_APP,
            app_name=STACK_APP_NAME,
            image=image,
            args=("/bin/sh", "/mnt/install"),
            env={"PATH": CONTAINER_PATH},  # the host's variables come by file: an image keeps its container's
            workdir="/",
            user="0:0",
            mounts=tuple(mounts),
            partition=Partition.BACKGROUND,
            log=False,
        )
        async with self._engine.attach(spec) as attachment:
            await attachment.send_eof()
            tail = await show_output((piece.data async for piece in attachment.output), say)
            status = await attachment.wait()
            if status.exit_code != 0:
                raise _failure(recipe, f"its recipe ended with status {status.exit_code}", tail)
            if not await self._is_present(recipe.name):  # another appliance was quicker: its image is as good
                await self._engine.commit(spec.id, self._recipe.reference(recipe.name))

    async def _bootstrap(self, recipe: Recipe, place: Path, host: Host, say: Say) -> Path:
        """Make a Debian system as a tar from a mirror: the host's own, or else mmdebstrap's choice."""
        tar = place / "base.tar"
        # Sources may carry passwords of the host's; without any of its own, mmdebstrap's stay.
        forget = 'rm -f "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*; ' if host.sources else ""
        hook = (
            'rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap; '
            f'{forget}cp -R "$PLACE"/files/. "$1"; chroot "$1" /bin/sh -eu <"$PLACE"/setup'
        )
        auth = f'Dir::Etc::netrc "{place / "auth.conf"}";\n' if host.apt_auth else ""
        (place / "mmdebstrap.conf").write_text(host.apt_conf + auth)
        if shutil.which("mmdebstrap") is None:
            raise StackError(
                f"cannot make the stack image {recipe.name}: no registry has {self._recipe.image or 'its base'}, and "
                "mmdebstrap, which would make it from a Debian mirror, is not installed; type: apt install mmdebstrap"
            )
        argv = [
            *("unshare", "--mount"),  # what it mounts goes with it, even when it is killed
            "mmdebstrap",
            "--mode=root",
            "--variant=minbase",
            f"--aptopt={place / 'mmdebstrap.conf'}",
            "--dpkgopt=force-unsafe-io",
            f"--customize-hook={hook}",
            *([f"--include={','.join(recipe.packages)}"] if recipe.packages else []),
            self._recipe.codename,
            str(tar),
            *([str(place / "sources.list")] if host.sources else []),
        ]
        env = {**os.environ, "TMPDIR": str(place), "PLACE": str(place)}
        status, tail = await run_program(argv, env, partial(_say_step, say))
        if status != 0:
            raise _failure(recipe, f"mmdebstrap ended with status {status}", tail)
        return tar


@asynccontextmanager
async def _workplace(work_dir: Path, name: str) -> AsyncIterator[Path]:
    """A directory for one image in the making, gone at the end. What a crash left of others goes first.

    Who makes an image holds a lock on its directory, which the kernel takes back from the dead: `flynn-aio
    stack build` may be at work beside us.
    """
    await trio.to_thread.run_sync(_remove_abandoned, work_dir)
    place, lock = _new_folder(work_dir, f"stack-{name}-")
    try:
        yield place
    finally:
        with trio.move_on_after(CLEANUP_S, shield=True):
            await trio.to_thread.run_sync(partial(shutil.rmtree, place, ignore_errors=True))
        os.close(lock)


def _new_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    """Make a folder, and return it with the descriptor that holds its lock."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return folder, descriptor


def _remove_abandoned(work_dir: Path) -> None:
    """Remove folders of images whose maker has died. Blocks."""
    for folder in work_dir.glob("stack-*"):
        with suppress(OSError):  # locked: it is in use; or gone meanwhile
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _write_tree(root: Path, recipe: Recipe) -> None:
    """Write a recipe's files as they shall lie in the image, whatever the umask here."""
    root.mkdir()
    for path, file in recipe.files.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(0o755 if file.executable else 0o644)
    for folder in (root, *(each for each in root.rglob("*") if each.is_dir())):
        folder.chmod(0o755)


async def _say_step(say: Say, line: str) -> None:
    """Show of mmdebstrap's output only its steps, such as ``I: extracting archives...``."""
    if line.startswith("       I: ") and line.endswith("...") and "tempdir" not in line:
        await say(line.replace("I: ", "", 1))


def _failure(recipe: Recipe, reason: str, tail: Sequence[str]) -> StackError:
    said = "\n".join(tail)
    return StackError(
        f"cannot make the stack image {recipe.name}: {reason}; push again once the cause is gone"
        + (f", which its last lines tell:\n{said}" if said else "")
    )
