"""The table: every path is found, and found once."""

import msgspec

from flynn_aio.controller.routes import TABLE, find


def test_every_row_is_found_by_its_own_path():
    for endpoint in TABLE:
        found = find(endpoint.method, endpoint.path.replace(":", "%3A"))
        assert found is not None
        assert found[0] is endpoint
        assert found[1] == {part[1:]: part for part in endpoint.path.split("/") if part.startswith(":")}


def test_no_two_rows_answer_the_same():
    shapes = [
        (endpoint.method, *(":" if part.startswith(":") else part for part in endpoint.path.split("/")))
        for endpoint in TABLE
    ]
    assert len(shapes) == len(set(shapes))


def test_an_encoded_slash_does_not_part_segments():
    assert find("GET", "/apps/a%2Fjobs") == (find("GET", "/apps/x")[0], {"app": "a/jobs"})
    assert find("GET", "/apps/") is None
    assert find("GET", "apps") is None


def test_what_a_row_takes_is_a_struct_of_json():
    for endpoint in TABLE:
        assert endpoint.takes is None or issubclass(endpoint.takes, msgspec.Struct), endpoint.path
