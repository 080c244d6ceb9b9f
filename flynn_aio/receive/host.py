"""Host: what image builds borrow from the machine they run on.

Packages come the way the host itself gets them – its Debian mirror, proxy and resolver – since
that way is known to work; no mirror's name is written into our files. The functions are pure but
for `read_host`. Source: `hosts.md`.
"""

import ipaddress
import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

APT_CONFIG_TIMEOUT_S = 10
DEBIAN_KEYRING = "debian-archive"
"""How the names of Debian's own keyrings begin; entries signed by others are a vendor's."""

_SOURCE_OPTIONS = frozenset({"trusted", "check-valid-until", "check-date", "allow-insecure"})
_HOST_SETTINGS = re.compile(
    r"^Acquire::(?:https?::(?:[\w.-]+::)?(?:Proxy|Timeout|Verify-Peer|Verify-Host)"
    r'|Check-Valid-Until|Check-Date|Retries|ForceIPv[46]) ".*";$'
)
BUILD_SETTINGS = """\
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
DPkg::Options:: "--force-unsafe-io";
DPkg::Use-Pty "0";
"""
"""apt's settings inside an image build: small and quick, since one that loses power half way is made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One entry of apt's sources: a place and what is there."""

    uri: str
    suite: str
    components: tuple[str, ...]
    options: Mapping[str, str]

    @property
    def line(self) -> str:
        """The entry as a line of sources.list, reduced to what we need of it."""
        kept = [f"{name}={value}" for name, value in sorted(self.options.items()) if name in _SOURCE_OPTIONS]
        return " ".join(["deb", *([f"[{' '.join(kept)}]"] if kept else []), self.uri, self.suite, "main"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a build takes over from the host.

    Attributes:
        sources: lines of sources.list; empty means the host has none for this Debian release.
        apt_conf: apt's own settings there: proxies, retries, date checks.
        apt_auth: passwords of mirrors, in netrc's format.
        resolv_conf: ``None`` when the host's resolver cannot be reached from a container.
    """

    sources: tuple[str, ...]
    apt_conf: str
    apt_auth: str
    resolv_conf: str | None


def read_host(codename: str, *, etc: Path = Path("/etc"), run: Path = Path("/run")) -> Host:
    """Read the host's configuration of packages and names. Blocks for some milliseconds."""
    apt = etc / "apt"
    one_line = _texts([apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))])
    stanzas = _texts(sorted((apt / "sources.list.d").glob("*.sources")))
    # systemd-resolved writes the servers behind its loopback stub here; Podman reads the same file.
    resolvers = _texts([etc / "resolv.conf", run / "systemd" / "resolve" / "resolv.conf"])
    return Host(
        sources=debian_sources(
            [source for text in one_line for source in parse_sources_list(text)]
            + [source for text in stanzas for source in parse_deb822(text)],
            codename,
        ),
        apt_conf=apt_settings(_apt_config()),
        apt_auth="\n".join(_texts([apt / "auth.conf", *sorted((apt / "auth.conf.d").glob("*.conf"))])),
        resolv_conf=next((conf for conf in map(outer_resolvers, resolvers) if conf), None),
    )


def parse_sources_list(text: str) -> list[Source]:
    """Read the one-line format: ``deb [option=value ...] URI SUITE COMPONENT...``."""
    sources = []
    for raw in text.splitlines():
        match = re.match(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)", raw.partition("#")[0].strip())
        if match:
            options = dict(pair.partition("=")[::2] for pair in (match[1] or "").split())
            sources.append(
                Source(
                    uri=match[2],
                    suite=match[3],
                    components=tuple(match[4].split()),
                    options={name.lower(): value for name, value in options.items()},
                )
            )
    return sources


def parse_deb822(text: str) -> list[Source]:
    """Read the format of ``*.sources``: stanzas of fields, one entry for each URI and suite."""
    sources = []
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", lines):
        unfolded = re.sub(r"\n[ \t]+", " ", stanza)
        pairs = (line.partition(":") for line in unfolded.splitlines() if ":" in line)
        fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
            continue
        sources += [
            Source(uri=uri, suite=suite, components=tuple(fields.get("components", "").split()), options=fields)
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return sources


def debian_sources(sources: Iterable[Source], codename: str) -> tuple[str, ...]:
    """Return the entries for Debian itself as lines for an image's own sources.list.

    A vendor's list beside Debian's would bring keys and packages an image has no use for. An entry
    is Debian's when it is signed by Debian's keyring, or names none and says "debian" in its URI.

    Returns:
        the lines, without repetition; empty when the release itself is not among them.
    """
    suites = {codename, f"{codename}-updates", f"{codename}-security"}
    ours = [source for source in sources if source.suite in suites and _is_debian(source)]
    if not any(source.suite == codename for source in ours):
        return ()
    return tuple(dict.fromkeys(source.line for source in ours))


def _is_debian(source: Source) -> bool:
    if "main" not in source.components or urlsplit(source.uri).scheme not in ("http", "https"):
        return False
    signed_by = source.options.get("signed-by", "")
    if signed_by:
        return Path(signed_by).name.startswith(DEBIAN_KEYRING)
    return "debian" in source.uri.lower()


def apt_settings(dump: str) -> str:
    """Return what any apt here needs of the host's ``apt-config dump``, and no translations.

    Whatever names a file or a program of the host is left behind: it does not exist inside.
    """
    return (
        "".join(f"{line}\n" for line in dump.splitlines() if _HOST_SETTINGS.match(line))
        + 'Acquire::Languages "none";\n'
    )


def outer_resolvers(resolv_conf: str) -> str | None:
    """Return a resolv.conf without the servers on loopback, which is another machine inside.

    Returns:
        ``None`` when no server is left.
    """
    kept, servers = [], 0
    for line in resolv_conf.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1:
            if _is_loopback(words[1]):
                continue
            servers += 1
        kept.append(line)
    return "\n".join(kept) + "\n" if servers else None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return True


def shell_exports(names: Sequence[str], env: Mapping[str, str]) -> str:
    """Return a shell script that sets those of the variables that `env` has."""
    return "".join(f"export {name}={shlex.quote(env[name])}\n" for name in names if name in env)


def _texts(paths: Iterable[Path]) -> list[str]:
    return [path.read_text(errors="replace") for path in paths if path.is_file()]


def _apt_config() -> str:
    """Return ``apt-config dump``; nothing on a host without apt, where mirrors are mmdebstrap's business."""
    try:
        done = subprocess.run(
            ["apt-config", "dump"],
            capture_output=True,
            text=True,
            timeout=APT_CONFIG_TIMEOUT_S,
            check=False,
            env={"PATH": os.defpath, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
