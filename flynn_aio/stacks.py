"""`flynn-aio stack build|list`: the images that build and run apps, made or shown by hand."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from functools import partial

import trio

from .bootstrap import make_data_dir, make_directories
from .engine import open_engine
from .receive import Stack
from .settings import Settings
from .up import tell


def build(settings: Settings, languages: Sequence[str]) -> int:
    """Make the plain images and those of `languages`; what is there already is left alone."""
    return _with_stack(settings, partial(_build, languages=languages))


def show(settings: Settings, *, as_json: bool) -> int:
    """Print every image of the stack and whether it is there."""
    return _with_stack(settings, partial(_show, as_json=as_json))


def _with_stack(settings: Settings, command: Callable[[Stack], Awaitable[None]]) -> int:
    async def run() -> None:
        async with open_engine(settings.engine) as engine:
            await command(Stack(settings.build, engine))

    try:
        make_data_dir(settings.data_dir)
        make_directories(settings)
        trio.run(run)
    except BaseException as exc:
        tell(exc)
        return 1
    return 0


async def _build(stack: Stack, languages: Sequence[str]) -> None:
    async def say(line: str) -> None:
        print(line, flush=True)

    for language in (None, *languages):
        await stack.ensure(language, say)


async def _show(stack: Stack, as_json: bool) -> None:
    images = await stack.list()
    if as_json:
        print(json.dumps([asdict(image) for image in images], indent=2))
        return
    width = max(len(image.name) for image in images)
    for image in images:
        print(f"{image.name:{width}}  {'there' if image.present else 'missing':7}  {image.image}")
