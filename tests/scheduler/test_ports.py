import pytest

from flynn_aio.scheduler.ports import advice, listens_over_ipv6_only


@pytest.mark.parametrize(
    ("opened", "said"),
    [
        ([], "told PORT=8080, opened no port: listen on 0.0.0.0:8080, and take the port from the variable PORT"),
        (["127.0.0.1:8080"], "listens on 127.0.0.1:8080 only: bind 0.0.0.0"),
        (["127.0.0.1:8080", "[::1]:8080"], "listens on 127.0.0.1:8080 and [::1]:8080 only: bind 0.0.0.0"),
        (["127.0.0.1:8080", "0.0.0.0:9000"], "listens on 127.0.0.1:8080 only: bind 0.0.0.0"),
        (["0.0.0.0:3000"], "told PORT=8080, opened 3000: use the PORT variable"),
        (
            ["0.0.0.0:3000", "[::]:3000", "127.0.0.1:4000"],
            "told PORT=8080, opened 3000 and 4000: use the PORT variable",
        ),
        (["127.0.0.1:3000"], "told PORT=8080, opened 127.0.0.1:3000: use the PORT variable, and bind 0.0.0.0"),
        (["0.0.0.0:8080"], ""),
        (["[::]:8080"], ""),
        (["127.0.0.1:8080", "10.0.0.2:8080"], ""),
    ],
)
def test_where_it_listens_and_what_is_wrong_with_it(opened, said):
    assert advice(8080, opened) == said


@pytest.mark.parametrize(
    ("opened", "only"),
    [(["[::]:8080"], True), (["[::]:8080", "0.0.0.0:8080"], False), (["[::]:1"], False), ([], False)],
)
def test_a_port_may_be_open_over_ipv6_alone(opened, only):
    assert listens_over_ipv6_only(8080, opened) is only
