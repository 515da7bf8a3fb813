"""serve/stress.py: when stress begins and when it is over."""

import pytest

from posthouse.serve.stress import Load, Recent, Stress, StressLimits

CALM = Load(0.1, 0.1, 0.01, 0.01)


def test_the_defaults_of_limits_md() -> None:
    limits = StressLimits()
    assert (limits.connections_percent, limits.memory_percent) == (80, 80)
    assert (limits.commit_seconds, limits.greeting_seconds, limits.calm_seconds) == (2.0, 1.0, 60.0)
    assert (limits.command_seconds, limits.errors, limits.junk_commands, limits.recipients) == (10.0, 1, 1, 100)


@pytest.mark.parametrize(
    ("load", "begins"),
    [
        (CALM, False),
        (Load(0.80, 0.80, 2.0, 1.0), False),
        (CALM._replace(connections=0.81), True),
        (CALM._replace(memory=0.81), True),
        (CALM._replace(commit_seconds=2.1), True),
        (CALM._replace(greeting_seconds=1.1), True),
    ],
)
def test_each_measurement_alone_is_enough(load: Load, begins: bool) -> None:
    stress = Stress()
    assert stress.measured(load, 0.0) is begins
    assert stress.on is begins
    assert not stress.measured(load, 1.0)  # nothing new


def test_it_is_over_after_a_minute_below_half() -> None:
    stress = Stress()
    stress.measured(CALM._replace(connections=0.9), 0.0)
    assert not any(stress.measured(CALM._replace(connections=0.5), float(second)) for second in range(1, 200))
    for second in range(200, 259):
        assert not stress.measured(CALM, float(second))
    stress.measured(CALM._replace(commit_seconds=1.1), 259.0)  # more than half: the minute begins anew
    assert [second for second in range(260, 400) if stress.measured(CALM, float(second))] == [320]
    assert not stress.on


def test_memory_need_not_fall_by_half() -> None:
    stress = Stress()
    stress.measured(CALM._replace(memory=0.9), 0.0)
    assert not any(stress.measured(CALM._replace(memory=0.73), float(second)) for second in range(1, 200))
    assert [second for second in range(200, 300) if stress.measured(CALM._replace(memory=0.71), second)] == [260]


def test_what_was_measured_lately() -> None:
    recent = Recent(30.0, 100)
    recent.add(0.0, 9.0)
    recent.add(1.0, 9.0)
    assert recent.p95(1.0) == 0.0  # two say nothing
    for second in range(2, 102):
        recent.add(float(second), second / 100)
    assert recent.p95(101.0) == 1.0
    assert recent.p95(131.0) == 0.0
