"""round_robin: connections to every address, calls in turn, failures that do not flicker."""

from __future__ import annotations

import pytest

from gyrfalcon.policy import QUEUE, RoundRobin
from gyrfalcon.rpc import Status, StatusCode
from tests.unit.policy.channel import CONNECTING, FAILED, READY, A, B, C, FakeChannel


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel(lambda control: RoundRobin(control, uniform=lambda: 0.0))


def test_connects_to_every_address_once(channel: FakeChannel) -> None:
    assert channel.resolve(A, B, A) is True
    assert channel.state is CONNECTING
    assert channel.tried() == [A, B]
    assert channel.pick() is QUEUE


def test_calls_take_turns_among_the_ready(channel: FakeChannel) -> None:
    channel.resolve(A, B, C)
    channel.move(B, READY)
    assert [channel.picked() for _ in range(3)] == [B, B, B]
    channel.move(A, READY)
    channel.move(C, FAILED)
    assert channel.state is READY
    assert [channel.picked() for _ in range(4)] == [A, B, A, B]


def test_a_picker_starts_where_chance_says() -> None:
    channel = FakeChannel(lambda control: RoundRobin(control, uniform=lambda: 0.999))
    channel.resolve(A, B, C)
    for address in (A, B, C):
        channel.move(address, READY)
    assert [channel.picked() for _ in range(4)] == [C, A, B, C]


def test_turns_go_on_when_the_ready_ones_stay_the_same(channel: FakeChannel) -> None:
    channel.resolve(A, B, C)
    channel.move(A, READY)
    channel.move(B, READY)
    assert channel.picked() == A
    channel.move(C, FAILED)
    channel.resolve(A, B)
    assert channel.picked() == B


def test_calls_fail_only_when_every_address_failed(channel: FakeChannel) -> None:
    channel.resolve(A, B)
    channel.move(A, FAILED, "refused by A")
    assert channel.state is CONNECTING
    assert channel.pick() is QUEUE
    channel.move(B, FAILED, "refused by B")
    assert channel.state is FAILED
    assert channel.failure() == "refused by B"
    assert channel.resolutions_wanted == 2


def test_a_failed_address_is_tried_again_but_stays_failed_until_it_connects(
    channel: FakeChannel,
) -> None:
    channel.resolve(A)
    channel.move(A, FAILED, "refused")
    channel.back_off(A)
    assert channel.tried() == [A]
    assert channel.state is FAILED
    channel.move(A, FAILED, "refused again")
    assert channel.failure() == "refused again"
    channel.back_off(A)
    channel.move(A, READY)
    assert channel.published == [CONNECTING, FAILED, FAILED, READY]
    assert channel.picked() == A


def test_a_lost_connection_is_made_again_at_once(channel: FakeChannel) -> None:
    channel.resolve(A, B)
    channel.move(A, READY)
    channel.move(B, READY)
    channel.lose(A)
    assert channel.tried() == [A]
    assert channel.state is READY
    assert [channel.picked() for _ in range(2)] == [B, B]
    assert channel.resolutions_wanted == 1
    channel.lose(B)
    assert channel.state is CONNECTING


def test_new_addresses_replace_the_old_ones(channel: FakeChannel) -> None:
    channel.resolve(A, B)
    channel.move(A, READY)
    channel.move(B, READY)
    late = channel.at(A)
    assert channel.resolve(B, C) is True
    assert not late.open
    assert channel.tried() == [C]
    assert [channel.picked() for _ in range(2)] == [B, B]
    published = len(channel.published)
    channel.balancer.subchannel_changed(late, READY, None)
    assert len(channel.published) == published


def test_no_addresses_fail_calls_and_ask_for_another_try(channel: FakeChannel) -> None:
    channel.resolve(A)
    channel.move(A, READY)
    assert channel.resolve() is False
    assert channel.state is FAILED
    assert channel.failure() == "the target was resolved to no addresses"
    assert not channel.subchannels[0].open


def test_a_resolver_that_fails_matters_only_without_addresses(channel: FakeChannel) -> None:
    channel.balancer.resolver_failed(Status(StatusCode.UNAVAILABLE, "no such host"))
    assert channel.failure() == "no such host"
    channel.resolve(A)
    channel.balancer.resolver_failed(Status(StatusCode.UNAVAILABLE, "no such host"))
    assert channel.state is CONNECTING


def test_it_is_never_idle_and_close_ends_everything(channel: FakeChannel) -> None:
    channel.resolve(A, B)
    channel.balancer.exit_idle()
    assert channel.published == [CONNECTING]
    channel.balancer.close()
    assert [each.open for each in channel.subchannels] == [False, False]
