"""Endpoint rules are data: which one fires, and which sets of them are refused."""

import pytest

from s4speech.config.streaming import DEFAULT_ENDPOINTS, EndpointRule
from s4speech.streaming.endpoint import check_rules, fired
from tests.conftest import message


@pytest.mark.parametrize(
    ("words", "silence_s", "length_s", "name"),
    [
        (False, 0.0, 0.0, None),
        (False, 2.39, 2.39, None),
        (False, 2.4, 2.4, "silence"),
        (False, 1.2, 19.9, None),
        (False, 0.4, 20.0, "cap"),
        (True, 1.1, 3.0, None),
        (True, 1.2, 3.0, "pause"),
        (True, 2.4, 3.0, "silence"),
        (True, 0.4, 9.9, None),
        (True, 0.4, 10.0, "long"),
        (True, 0.39, 10.0, None),
        (True, 0.0, 20.0, "cap"),
    ],
)
def test_the_default_rules(words, silence_s, length_s, name):
    rule = fired(DEFAULT_ENDPOINTS, words=words, silence_s=silence_s, length_s=length_s)
    assert (rule and rule.name) == name


def test_the_first_rule_that_holds_wins():
    rules = [EndpointRule(name="b", length_s=1.0), EndpointRule(name="a", length_s=0.5)]
    assert fired(rules, words=False, silence_s=0.0, length_s=2.0).name == "b"
    assert fired(rules, words=False, silence_s=0.0, length_s=0.7).name == "a"
    assert fired([], words=True, silence_s=9.0, length_s=9.0) is None


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [EndpointRule(name="pause", after_words=True, silence_s=1.0)],
        [EndpointRule(name="long", after_words=True, length_s=10.0)],
        [EndpointRule(name="silence", silence_s=2.4, length_s=10.0)],
    ],
)
def test_rules_that_may_never_fire_are_refused(rules):
    assert message(lambda: check_rules(rules)).startswith("endpoints: got ")
    assert check_rules([*rules, EndpointRule(name="cap", length_s=20.0)])[-1].name == "cap"
