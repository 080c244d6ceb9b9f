"""Names of images follow from all that goes into them."""

from dataclasses import replace

import pytest

from flynn_aio.errors import ValidationError
from flynn_aio.receive.recipe import read_stack
from flynn_aio.receive.shipped import shipped

STACK_TOML = """
codename = "bookworm"
cf_stack = "cflinuxfs3"
[image.base]
[image.runner]
from = "base"
packages = ["curl", "ca-certificates"]
files = { "/runner/init" = "init" }
[image.builder]
from = "runner"
packages = ["git"]
setup = "true\\n"
[image.runner-go]
from = "runner"
[image.builder-go]
from = "runner-go"
like = ["builder"]
packages = ["golang"]
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "test-1"
    folder.mkdir()
    (folder / "stack.toml").write_text(STACK_TOML)
    (folder / "install").write_text("#!/bin/sh\n")
    (folder / "init").write_text("#!/bin/sh\n")
    return folder


def read(folder, image="registry.example/debian:12"):
    return read_stack(folder, image=image)


def references(folder, **options):
    stack = read(folder, **options)
    return {name: stack.reference(name) for name in stack.images}


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def test_a_name_tells_stack_image_and_hash(folder):
    repository, _, digest = references(folder)["runner"].rpartition(":")
    assert repository == "localhost/flynn-aio/test-1/runner"
    assert len(digest) == 12
    assert int(digest, 16)


def test_equal_recipes_have_equal_names(folder):
    assert references(folder) == references(folder)


def test_a_change_names_the_image_and_its_descendants_anew(folder):
    before = references(folder)
    (folder / "stack.toml").write_text(STACK_TOML.replace('"git"', '"git", "make"'))
    assert changed(before, references(folder)) == {"builder", "builder-go"}


@pytest.mark.parametrize("change", ["content", "mode"])
def test_a_file_counts_with_its_content_and_its_mode(folder, change):
    before = references(folder)
    if change == "content":
        (folder / "init").write_text("#!/bin/bash\n")
    else:
        (folder / "init").chmod(0o755)
    assert changed(before, references(folder)) == {"runner", "builder", "runner-go", "builder-go"}


def test_the_install_script_and_the_registry_image_count_for_all(folder):
    before = references(folder)
    assert changed(before, references(folder, image="")) == set(before)
    (folder / "install").write_text("#!/bin/sh -e\n")
    assert changed(before, references(folder)) == set(before)


def test_the_order_of_packages_is_no_difference(folder):
    before = references(folder)
    (folder / "stack.toml").write_text(STACK_TOML.replace('"curl", "ca-certificates"', '"ca-certificates", "curl"'))
    assert references(folder) == before


def test_parts_do_not_run_into_each_other(folder):
    stack = read(folder)
    runner = stack.images["runner"]
    moved = replace(runner, packages=(), setup=" ".join(runner.packages))
    assert replace(stack, images={**stack.images, "runner": moved}).digest("runner") != stack.digest("runner")


def test_like_takes_packages_files_and_setup_of_another(folder):
    images = read(folder).images
    assert images["builder-go"].packages == ("git", "golang")
    assert images["builder-go"].setup == "true\n"
    assert [recipe.name for recipe in read(folder).lineage("builder-go")] == [
        "base",
        "runner",
        "runner-go",
        "builder-go",
    ]


def test_a_language_without_images_gets_the_plain_ones(folder):
    stack = read(folder)
    assert (stack.runner("go"), stack.builder("go")) == ("runner-go", "builder-go")
    assert (stack.runner("cobol"), stack.builder(None)) == ("runner", "builder")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("cf_stack", "cf-stack", "cf_stack"),
        ('from = "base"', 'from = "bass"', "bass must be described before it"),
        ("packages = [", "package = [", "unknown keys package"),
        ("[image.builder]", "[image.bilder]", "builder"),
        ('"init"', '"outit"', "outit"),
        ("[image.base]", "[image.base", "stack.toml"),
    ],
)
def test_a_wrong_stack_says_what_is_wrong(folder, old, new, says):
    (folder / "stack.toml").write_text(STACK_TOML.replace(old, new))
    with pytest.raises(ValidationError, match=says):
        read(folder)


def test_the_shipped_stack_reads():
    stack = read(shipped("stacks/debian-12"))
    for language in ("python", "nodejs", "static"):
        assert stack.runner(language) == f"runner-{language}"
    for recipe in stack.images.values():
        assert not recipe.files or recipe.setup or recipe.packages
    assert stack.images["runner"].files["/runner/init"].executable
    assert stack.images["builder-nodejs"].files["/builder/build"].executable
