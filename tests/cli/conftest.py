"""A person with a home of their own, a cluster in it, and a controller that plays along."""

import io
import os
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

import flynn_aio
from flynn_aio.cli.main import main

from .fake_controller import KEY, FakeController, running
from .tls import Leaf, certificate

SOURCE = str(Path(flynn_aio.__file__).parents[1])


class SecureController(FakeController):
    """A controller behind TLS, and how to know it."""

    def __init__(self, leaf: Leaf) -> None:
        super().__init__()
        self.pin = leaf.pin

    @property
    def domain(self) -> str:
        return f"flynn.localhost:{self.port}"


@dataclass(frozen=True)
class Done:
    """How a command ended. `err` is what Flynn's client would have said, `hint` what ours adds."""

    code: int
    out: str
    err: str
    hint: str = ""

    @classmethod
    def of(cls, code: int, out: str, err: str) -> "Done":
        said = err.splitlines(keepends=True)
        if said and said[-1].startswith("hint: "):
            return cls(code, out, "".join(said[:-1]), said[-1].removeprefix("hint: ").removesuffix("\n"))
        return cls(code, out, err)


@dataclass
class Person:
    """Somebody with an empty home directory, who types `flynn` commands, in this process or in a real one."""

    home: Path
    pycache: str
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    @property
    def rc(self) -> Path:
        return self.home / ".flynnrc"

    def flynn(self, *argv: str, stdin: str = "") -> Done:
        """Run a command in this process."""
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        self.capsys.readouterr()
        code = main(argv)
        out, err = self.capsys.readouterr()
        return Done.of(code, out, err)

    def flynn_process(self, *argv: str, stdin: str = "", stdin_from: IO[bytes] | None = None) -> Done:
        """Run a command as a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "flynn_aio.cli.main", *argv],
            **({"stdin": stdin_from} if stdin_from else {"input": stdin}),
            capture_output=True,
            text=True,
            check=False,
            env=self.environ(),
            timeout=30,
        )
        return Done.of(done.returncode, done.stdout, done.stderr)

    def environ(self) -> dict[str, str]:
        """Return the environment of processes. They share compiled modules, wherever this run keeps none."""
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        return {**inherited, "PYTHONPATH": SOURCE, "PYTHONPYCACHEPREFIX": self.pycache}

    def git(self, *args: str) -> str:
        """Run git in the current directory and return what it prints."""
        done = subprocess.run(["git", *args], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def stand_in_a_repository(self, name: str = "repo") -> Path:
        repository = self.home / name
        repository.mkdir()
        self.monkeypatch.chdir(repository)
        self.git("init", "-q", "-b", "master", ".")
        return repository


@pytest.fixture(scope="session")
def pycache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("pycache"))


@pytest.fixture
def person(tmp_path, pycache, capsys, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith(("FLYNN", "GIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.chdir(home)
    return Person(home, pycache, capsys, monkeypatch)


@pytest.fixture
def controller(person):
    """A running controller, in the clear, which the person knows as their default cluster; the app is `shop`."""
    with running(FakeController()) as fake:
        person.rc.write_text(
            f'default = "one"\n\n[[cluster]]\n  Name = "one"\n  Key = "{KEY}"\n'
            f'  ControllerURL = "http://127.0.0.1:{fake.port}"\n  GitURL = "https://git.example.com"\n'
            f'  ImageURL = "https://images.example.com"\n\n'
        )
        person.monkeypatch.setenv("FLYNN_APP", "shop")
        yield fake


@pytest.fixture(scope="session")
def leaf(tmp_path_factory):
    """A self-signed certificate for `*.flynn.localhost`."""
    return certificate("flynn.localhost", tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure_controller(leaf):
    """A running controller with TLS under `*.flynn.localhost`; nobody knows it yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    with running(SecureController(leaf), context) as fake:
        yield fake
