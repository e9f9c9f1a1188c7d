"""Who wins: an enrolled source, a class of the run, or unknown."""

from __future__ import annotations

from sourcetracing.enrolment.decision import decide


def test_who_wins():
    assert [decide(says, False) for says in (True, False, None)] == ["unknown", "known", "not decided"]
    assert {decide(says, True) for says in (True, False, None)} == {"enrolled"}
