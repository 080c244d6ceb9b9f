"""Cursors: what a sink has, across restarts."""

from flynn_aio.logs.cursor import START, UNSEEN_S, Cursor, Place, Saved, load, remove, save

HERE = Place(7, 100, True)


def test_a_cursor_is_read_as_it_was_saved(tmp_path):
    path = tmp_path / "cursors" / "x.json"
    cursor = Cursor(Saved(sink="made"))
    cursor.places["one"] = HERE
    save(path, cursor.saved(1000.0, {"two"}))
    again = load(path, "made")
    assert again.places == {"one": HERE, "two": START}
    assert again.wants("one", 0.0)
    assert not again.wants("three", 1000.0 - UNSEEN_S)
    assert again.wants("three", 1000.0)  # it may have been written after the cursor was
    remove(path)
    assert load(path, "made").places == {}
    remove(path)


def test_another_sink_or_a_torn_file_begins_with_all_there_is(tmp_path):
    path = tmp_path / "x.json"
    save(path, Saved(sink="made", before=1000.0, places={"one": HERE}))
    assert load(path, "made later").wants("any", 0.1)
    for text in ("", "{", "[]", '{"sink": "made", "places": {"one": [1]}}'):
        path.write_text(text)
        assert load(path, "made").places == {}


def test_jobs_that_ended_long_ago_are_not_listed():
    cursor = Cursor(Saved(sink=""))
    cursor.places |= {"one": HERE, "two": HERE, "three": HERE}
    cursor.end("one", 1000.0)
    cursor.end("two", 1000.0)
    assert set(cursor.saved(1001.0, set()).places) == {"one", "two", "three"}
    cursor.go_on("two")
    saved = cursor.saved(1000.0 + UNSEEN_S + 1.1, set())
    assert set(saved.places) == {"two", "three"}
    assert not Cursor(saved).wants("one", 1000.0)
