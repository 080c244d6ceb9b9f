"""`flynn-aio stack`, as far as it goes without Podman."""

from flynn_aio import stacks
from flynn_aio.config import load


def test_a_directory_of_somebody_else_is_left_as_it_is(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("")
    flags = {"appliance.data_dir": str(tmp_path), "engine.podman": "/nowhere/podman"}
    assert stacks.show(load(environ={}, flags=flags), as_json=False) == 1
    assert "there are other things in it (thesis.tex" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_directory_that_cannot_be_made_is_said(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    flags = {"appliance.data_dir": str(tmp_path / "file" / "data"), "engine.podman": "/nowhere/podman"}
    assert stacks.show(load(environ={}, flags=flags), as_json=False) == 1
    assert "name another one with --data-dir" in capsys.readouterr().err
