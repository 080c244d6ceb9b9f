import os

import pytest
import trio

from flynn_aio.model import AppID
from flynn_aio.receive.slugs import SlugError, Slugs, Used, read_file, size_text, tree_size

from .conftest import build_settings

APP = AppID("app")


@pytest.fixture
def settings(tmp_path):
    return build_settings(tmp_path)


@pytest.fixture
def slugs(settings):
    made = Slugs(settings)
    made.prepare()
    return made


def used(slugs=(), apps=()):
    async def find_used():
        await trio.lowlevel.checkpoint()
        return Used(slugs=slugs, apps=apps)

    return find_used


async def test_a_published_slug_is_whole_and_has_its_name(slugs, settings):
    async with slugs.open_workplace("b1", APP, env={"A": b"1"}, custom=True) as place:
        (place.slug / "app.py").write_text("x")
        (place.cache / "wheel").write_text("y")
        assert (place.env / "A").read_bytes() == b"1"
        assert place.custom.is_dir()
        assert not slugs.slug("b1").exists()
        await slugs.publish("b1", APP, place)
    assert (slugs.slug("b1") / "app.py").read_text() == "x"
    assert os.listdir(settings.slug_dir) == ["b1"]
    assert os.listdir(settings.cache_dir / "apps") == ["app"]
    assert os.listdir(settings.work_dir / "builds") == []


async def test_what_is_not_published_goes(slugs, settings):
    with pytest.raises(ZeroDivisionError):
        async with slugs.open_workplace("b1", APP, env={}, custom=False) as place:
            (place.slug / "deep").mkdir()
            assert place.env is None
            assert place.custom is None
            raise ZeroDivisionError
    for directory in (settings.slug_dir, settings.cache_dir / "apps", settings.work_dir / "builds"):
        assert os.listdir(directory) == []


async def test_a_cancelled_build_removes_its_directories(slugs, settings):
    with trio.CancelScope() as scope:
        async with slugs.open_workplace("b1", APP, env={"A": b""}, custom=False) as place:
            (place.slug / "file").write_text("x")
            scope.cancel()
            await trio.sleep_forever()
    assert os.listdir(settings.slug_dir) == []
    assert os.listdir(settings.work_dir / "builds") == []


async def test_the_sweep_removes_what_nobody_uses_and_what_a_crash_left(slugs, settings):
    for name in ("live", "dead", ".new-b7"):
        (settings.slug_dir / name / "sub").mkdir(parents=True)
    caches = settings.cache_dir / "apps"
    for name in ("app", "gone", ".old-b7"):
        (caches / name).mkdir()
    (settings.cache_dir / "apt").mkdir()  # the stack's
    (settings.work_dir / "builds" / "live").mkdir()  # of a crash between publication and removal
    removed = await slugs.sweep(used({"live"}, {"app"}))
    assert sorted(removed) == [".new-b7", ".old-b7", "dead", "gone", "live"]
    assert os.listdir(settings.slug_dir) == ["live"]
    assert os.listdir(caches) == ["app"]
    assert (settings.cache_dir / "apt").exists()


async def test_the_sweep_leaves_a_build_alone_and_what_it_publishes_meanwhile(slugs):
    async with slugs.open_workplace("b1", APP, env={}, custom=False) as place:
        assert await slugs.sweep(used()) == []
        await slugs.publish("b1", APP, place)

        async def publish_another():
            slugs.slug("b2").mkdir()  # came after the directories were listed
            await trio.lowlevel.checkpoint()
            return Used(slugs=set(), apps={APP})

        assert await slugs.sweep(publish_another) == []
    assert slugs.slug("b1").exists()
    assert slugs.slug("b2").exists()


async def test_slugs_stay_while_nobody_can_tell_which_are_in_use(slugs, settings):
    (settings.slug_dir / "draining").mkdir()
    assert await slugs.sweep(used(None)) == []


def test_only_plain_and_small_files_are_read(tmp_path):
    (tmp_path / "Procfile").write_text("web: x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "directory").mkdir()
    (tmp_path / "huge").write_bytes(bytes(70_000))
    os.mkfifo(tmp_path / "pipe")
    assert read_file(tmp_path, "Procfile") == b"web: x"
    assert read_file(tmp_path, "absent") is None
    for name in ("link", "dangling", "directory", "huge", "pipe"):
        with pytest.raises(SlugError, match=name):
            read_file(tmp_path, name)


async def test_the_size_of_a_tree_is_what_it_takes_on_the_disk(tmp_path):
    (tmp_path / "a").write_bytes(bytes(100_000))
    os.link(tmp_path / "a", tmp_path / "b")
    deep = tmp_path
    for _ in range(300):
        deep = deep / "directory"
        deep.mkdir()
    assert 100_000 <= await tree_size(tmp_path / "a") < 110_000
    assert await tree_size(tmp_path) < 2_000_000


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (900, "900B"), (12 * 1024, "12K"), (3_800_000, "3.6M"), (1_300_000_000, "1.2G")],
)
def test_sizes_are_written_as_du_does(size, text):
    assert size_text(size) == text
