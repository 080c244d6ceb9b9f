"""Where a process listens: the kernel's tables, read."""

import os
import socket

from flynn_aio.engine.sockets import listeners, listening

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  5000        0 41 1 0 100 0 0 10 0
   1: 00000000:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  5000        0 42 1 0 100 0 0 10 0
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  5000        0 43 1 0 20 4 30 10 -1
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000000000000:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000
   1: 00000000000000000000000001000000:1F92 00000000000000000000000000000000:0000 0A 00000000:00000000
   2: 0000000000000000FFFF00000100007F:1F93 00000000000000000000000000000000:0000 0A 00000000:00000000
"""


def test_only_what_listens_is_told_and_as_people_write_it():
    assert list(listeners(TCP)) == ["127.0.0.1:8080", "0.0.0.0:3000"]
    assert list(listeners(TCP6)) == ["[::]:8081", "[::1]:8082", "127.0.0.1:8083"]
    assert list(listeners("")) == []


def in_a_namespace_of_its_own(tmp_path, name="net:[1]"):
    for pid, namespace in (("7", "net:[7]"), ("self", name)):
        (tmp_path / pid / "ns").mkdir(parents=True)
        (tmp_path / pid / "ns" / "net").symlink_to(namespace)
    (tmp_path / "7" / "net").mkdir()
    (tmp_path / "7" / "net" / "tcp").write_text(TCP)
    (tmp_path / "7" / "net" / "tcp6").write_text(TCP6)
    return tmp_path


def test_both_tables_are_read_lowest_port_first(tmp_path):
    proc = in_a_namespace_of_its_own(tmp_path)
    found = ("0.0.0.0:3000", "127.0.0.1:8080", "[::]:8081", "[::1]:8082", "127.0.0.1:8083")
    assert listening(7, proc=proc) == found


def test_our_own_namespace_tells_nothing_of_one_process(tmp_path):
    assert listening(7, proc=in_a_namespace_of_its_own(tmp_path, "net:[7]")) is None
    with socket.create_server(("127.0.0.1", 0)):
        assert listening(os.getpid()) is None


def test_a_process_that_has_gone_listens_nowhere_that_could_be_told(tmp_path):
    assert listening(8, proc=in_a_namespace_of_its_own(tmp_path)) is None
