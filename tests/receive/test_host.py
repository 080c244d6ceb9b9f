"""What image builds borrow from the host: its Debian sources, apt settings and resolver."""

import pytest

from flynn_aio.receive.host import (
    apt_settings,
    debian_sources,
    outer_resolvers,
    parse_deb822,
    parse_sources_list,
    read_host,
    shell_exports,
)

DEBIAN_DEB822 = """\
# the mirror of the house
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 /usr/share/keyrings/debian-archive-keyring.gpg
"""


def test_both_formats_of_sources_say_the_same():
    one_line = """
        deb http://mirror.example/debian bookworm main contrib   # with a comment
        deb-src http://mirror.example/debian bookworm main
        deb [arch=amd64 trusted=yes] http://mirror.example/debian bookworm-updates main
    """
    assert debian_sources(parse_sources_list(one_line), "bookworm") == (
        "deb http://mirror.example/debian bookworm main",
        "deb [trusted=yes] http://mirror.example/debian bookworm-updates main",
    )
    assert debian_sources(parse_deb822(DEBIAN_DEB822), "bookworm") == (
        "deb http://mirror.example/debian bookworm main",
        "deb http://mirror.example/debian bookworm-updates main",
        "deb https://mirror.example/debian-security bookworm-security main",
    )


@pytest.mark.parametrize(
    "line",
    [
        "deb https://vendor.example/node nodistro main",
        "deb https://vendor.example/debian bookworm stable",
        "deb [signed-by=/usr/share/keyrings/vendor.gpg] https://vendor.example/debian bookworm main",
        "deb https://vendor.example/apt bookworm main",
        "deb http://mirror.example/debian bookworm-backports main",
        "deb file:/srv/debian bookworm main",
        "deb cdrom:[Debian]/ bookworm main",
    ],
)
def test_only_debian_itself_comes_along(line):
    ours = "deb http://mirror.example/debian bookworm main"
    assert debian_sources(parse_sources_list(f"{line}\n{ours}\n"), "bookworm") == (ours,)


def test_a_host_of_another_release_has_no_sources_for_us():
    assert debian_sources(parse_deb822(DEBIAN_DEB822), "trixie") == ()
    assert debian_sources(parse_deb822("Enabled: no\n" + DEBIAN_DEB822), "bookworm") == ()


def test_proxies_and_date_checks_come_along_and_files_of_the_host_do_not():
    settings = apt_settings(
        'Acquire "";\n'
        'Acquire::http::Proxy "http://proxy.example:3128";\n'
        'Acquire::https::mirror.example::Proxy "DIRECT";\n'
        'Acquire::http::Proxy-Auto-Detect "/usr/local/bin/find-proxy";\n'
        'Acquire::https::CAInfo "/etc/corporate.pem";\n'
        'Acquire::Check-Valid-Until "false";\n'
        'DPkg::Post-Invoke:: "rm -rf /";\n'
    )
    assert settings.splitlines() == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::https::mirror.example::Proxy "DIRECT";',
        'Acquire::Check-Valid-Until "false";',
        'Acquire::Languages "none";',
    ]


def test_a_resolver_on_loopback_means_nothing_inside():
    assert outer_resolvers("nameserver 127.0.0.53\noptions edns0\n") is None
    assert (
        outer_resolvers("nameserver 127.0.0.1\nnameserver 192.0.2.1\nsearch a\n") == "nameserver 192.0.2.1\nsearch a\n"
    )
    assert outer_resolvers("nameserver ::1\nnameserver 2001:db8::1%eth0\n") == "nameserver 2001:db8::1%eth0\n"


def test_the_host_is_read_from_its_files(tmp_path):
    lists = tmp_path / "etc/apt/sources.list.d"
    lists.mkdir(parents=True)
    (lists / "debian.sources").write_text(DEBIAN_DEB822)
    (lists / "vendor.list").write_text("deb https://vendor.example/apt stable main\n")
    (tmp_path / "etc/apt/auth.conf").write_text("machine mirror.example login a password b\n")
    (tmp_path / "etc/resolv.conf").write_text("nameserver 127.0.0.53\n")
    resolved = tmp_path / "run/systemd/resolve"
    resolved.mkdir(parents=True)
    (resolved / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    host = read_host("bookworm", etc=tmp_path / "etc", run=tmp_path / "run")
    assert len(host.sources) == 3
    assert host.apt_auth == "machine mirror.example login a password b\n"
    assert host.resolv_conf == "nameserver 192.0.2.1\n"


def test_an_empty_host_is_no_error(tmp_path):
    host = read_host("bookworm", etc=tmp_path, run=tmp_path)
    assert (host.sources, host.apt_auth, host.resolv_conf) == ((), "", None)


def test_variables_survive_a_shell():
    exports = shell_exports(["HTTP_PROXY", "NO_PROXY"], {"HTTP_PROXY": "http://a'b $c", "OTHER": "x"})
    assert exports == "export HTTP_PROXY='http://a'\"'\"'b $c'\n"
