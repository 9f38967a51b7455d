"""Identities: what is off does not count, everything else does."""

from hdpo.study.identity import content_hash


def test_a_key_that_is_off_does_not_count():
    plain = content_hash({"train": {"steps": 4, "seed": 0}})
    assert (
        content_hash({"train": {"steps": 4, "seed": 0, "new": None, "other": False, "list": []}, "more": {}}) == plain
    )


def test_everything_else_counts():
    values = [{"a": 0}, {"a": 0.5}, {"a": True}, {"a": ""}, {"a": [0]}, {"a": {"b": 0}}, {"b": 0}, {}, [None], [False]]
    assert len({content_hash(value) for value in values}) == len(values)
