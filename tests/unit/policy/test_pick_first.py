"""pick_first: which addresses are tried, when, and what calls are told meanwhile."""

from __future__ import annotations

import pytest

from gyrfalcon.policy import QUEUE, Address, Pick, PickFirst, TcpAddress, UnixAddress
from gyrfalcon.policy.pick_first import ATTEMPT_DELAY, interleave
from gyrfalcon.rpc import Status, StatusCode
from tests.unit.policy.channel import (
    CONNECTING,
    FAILED,
    IDLE,
    READY,
    A,
    B,
    C,
    FakeChannel,
)


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel(PickFirst)


def test_connects_to_the_first_address_while_calls_wait(channel: FakeChannel) -> None:
    assert channel.resolve(A, B) is True
    assert channel.state is CONNECTING
    assert channel.tried() == [A]
    assert channel.pick() is QUEUE


def test_calls_go_to_the_address_that_connected(channel: FakeChannel) -> None:
    channel.resolve(A, B)
    channel.move(A, READY)
    assert channel.published == [CONNECTING, READY]
    assert channel.picked() == A
    assert channel.due == []


def test_a_failure_moves_on_at_once(channel: FakeChannel) -> None:
    channel.resolve(A, B)
    channel.move(A, FAILED)
    assert channel.tried() == [B]
    assert channel.state is CONNECTING
    channel.move(B, READY)
    assert channel.picked() == B
    assert [each.open for each in channel.subchannels] == [False, True]


def test_silence_lets_the_next_address_try_beside_it(channel: FakeChannel) -> None:
    channel.resolve(A, B, C)
    assert [timer.delay for timer in channel.due] == [ATTEMPT_DELAY]
    channel.fire()
    assert channel.tried() == [A, B]
    channel.fire()
    assert channel.tried() == [A, B, C]
    assert channel.due == []
    channel.move(B, READY)
    assert channel.picked() == B
    assert [each.open for each in channel.subchannels] == [False, True, False]


def test_an_early_attempt_that_fails_late_does_not_skip_an_address(channel: FakeChannel) -> None:
    channel.resolve(A, B, C)
    channel.fire()
    channel.move(A, FAILED)
    assert channel.tried() == [B]
    channel.move(B, FAILED)
    assert channel.tried() == [C]


def test_when_all_failed_calls_fail_with_the_last_reason(channel: FakeChannel) -> None:
    channel.resolve(A, B)
    channel.move(A, FAILED, "refused by A")
    assert channel.resolutions_wanted == 0
    channel.move(B, FAILED, "refused by B")
    assert channel.published == [CONNECTING, FAILED]
    assert channel.failure() == "refused by B"
    assert not channel.pick().drop
    assert channel.resolutions_wanted == 1


def test_all_failed_also_when_the_first_to_be_tried_fails_last(channel: FakeChannel) -> None:
    channel.resolve(A, B)
    channel.fire()
    channel.move(B, FAILED)
    assert channel.state is CONNECTING
    channel.move(A, FAILED, "refused by A")
    assert channel.state is FAILED
    assert channel.failure() == "refused by A"


def test_after_a_failed_pass_each_address_goes_on_and_the_state_stays(
    channel: FakeChannel,
) -> None:
    channel.resolve(A, B)
    channel.move(A, FAILED)
    channel.back_off(A)
    assert channel.tried() == [B]
    channel.move(B, FAILED, "first")
    assert channel.tried() == [A]
    channel.move(A, FAILED, "second")
    assert channel.failure() == "first"
    channel.back_off(B)
    channel.move(B, FAILED, "third")
    assert channel.failure() == "third"
    assert channel.published == [CONNECTING, FAILED, FAILED]
    assert channel.resolutions_wanted == 2
    channel.back_off(A)
    channel.move(A, READY)
    assert channel.picked() == A
    assert channel.tried() == []


def test_a_lost_connection_makes_the_channel_idle_until_a_call(channel: FakeChannel) -> None:
    channel.resolve(A, B)
    channel.move(A, READY)
    channel.lose(A)
    assert channel.state is IDLE
    assert channel.pick() is QUEUE
    assert channel.tried() == []
    assert channel.resolutions_wanted == 1
    channel.balancer.exit_idle()
    assert channel.state is CONNECTING
    assert channel.tried() == [A]


def test_a_connection_lost_before_it_was_used_counts_as_lost(channel: FakeChannel) -> None:
    channel.resolve(A, B)
    channel.move(A, IDLE)
    assert channel.state is IDLE
    assert channel.due == []


def test_exit_idle_does_nothing_unless_idle(channel: FakeChannel) -> None:
    channel.balancer.exit_idle()
    assert channel.published == []
    channel.resolve(A)
    channel.balancer.exit_idle()
    channel.move(A, READY)
    channel.balancer.exit_idle()
    assert channel.published == [CONNECTING, READY]


def test_new_addresses_keep_a_connection_that_is_among_them(channel: FakeChannel) -> None:
    channel.resolve(A, B)
    channel.move(A, READY)
    assert channel.resolve(C, A) is True
    assert channel.published == [CONNECTING, READY]
    assert channel.picked() == A
    channel.lose(A)
    channel.balancer.exit_idle()
    assert channel.tried() == [C]


def test_new_addresses_without_the_connected_one_start_anew(channel: FakeChannel) -> None:
    channel.resolve(A)
    channel.move(A, READY)
    channel.resolve(B)
    assert channel.state is CONNECTING
    assert channel.pick() is QUEUE
    assert [each.open for each in channel.subchannels] == [False, True]
    assert channel.tried() == [B]


def test_new_addresses_in_a_pass_go_on_with_attempts_under_way(channel: FakeChannel) -> None:
    channel.resolve(A, B)
    channel.fire()
    channel.resolve(B, C)
    assert channel.tried() == [B]
    assert channel.at(B).attempts == 1
    channel.fire()
    assert channel.tried() == [B, C]


def test_new_addresses_while_idle_do_not_connect(channel: FakeChannel) -> None:
    channel.resolve(A)
    channel.move(A, READY)
    channel.lose(A)
    channel.resolve(B)
    assert channel.state is IDLE
    assert channel.tried() == []
    channel.balancer.exit_idle()
    assert channel.tried() == [B]


def test_new_addresses_after_failure_are_tried_without_leaving_it(channel: FakeChannel) -> None:
    channel.resolve(A)
    channel.move(A, FAILED, "refused by A")
    channel.resolve(A, B)
    assert channel.published == [CONNECTING, FAILED]
    assert channel.tried() == [B]
    channel.move(B, FAILED, "refused by B")
    assert channel.failure() == "refused by B"
    channel.back_off(A)
    assert channel.tried() == [A]


def test_the_same_addresses_while_all_back_off_do_not_stop_the_retries(
    channel: FakeChannel,
) -> None:
    channel.resolve(A, B)
    channel.move(A, FAILED)
    channel.move(B, FAILED, "refused by B")
    channel.resolve(B, A)
    assert channel.state is FAILED
    assert channel.failure() == "refused by B"
    channel.back_off(A)
    channel.back_off(B)
    assert channel.tried() == [A, B]


def test_a_new_pass_forgets_the_failures_of_the_last_one(channel: FakeChannel) -> None:
    channel.resolve(A, B)
    channel.move(A, FAILED)
    channel.back_off(A)
    channel.resolve(A, B)
    channel.move(B, FAILED)
    channel.fire()
    assert channel.tried() == [A]
    assert channel.state is CONNECTING


def test_no_addresses_fail_calls_and_ask_for_another_try(channel: FakeChannel) -> None:
    assert channel.resolve() is False
    assert channel.state is FAILED
    assert channel.failure() == "the target was resolved to no addresses"
    channel.resolve(A)
    assert channel.state is CONNECTING


def test_no_addresses_any_more_close_the_connection(channel: FakeChannel) -> None:
    channel.resolve(A)
    channel.move(A, READY)
    assert channel.resolve() is False
    assert channel.state is FAILED
    assert not channel.subchannels[0].open


def test_a_resolver_that_fails_matters_only_without_addresses(channel: FakeChannel) -> None:
    why = Status(StatusCode.UNAVAILABLE, "no such host")
    channel.balancer.resolver_failed(why)
    assert channel.state is FAILED
    assert channel.pick() == Pick(failure=why)
    assert channel.resolutions_wanted == 0
    channel.resolve(A)
    channel.balancer.resolver_failed(why)
    assert channel.state is CONNECTING


def test_subchannels_that_were_given_up_are_not_listened_to(channel: FakeChannel) -> None:
    channel.resolve(A, B)
    channel.fire()
    late = channel.at(B)
    channel.move(A, READY)
    channel.balancer.subchannel_changed(late, READY, None)
    assert channel.picked() == A
    assert channel.published == [CONNECTING, READY]


def test_close_ends_everything(channel: FakeChannel) -> None:
    channel.resolve(A, B)
    channel.fire()
    channel.resolve(A, B)
    channel.balancer.close()
    assert [each.open for each in channel.subchannels] == [False, False]
    assert channel.due == []
    channel.balancer.exit_idle()
    assert channel.state is CONNECTING


def test_addresses_are_tried_once_and_their_kinds_take_turns() -> None:
    six = [TcpAddress(f"::{n}", 1) for n in range(3)]
    four = [TcpAddress(f"10.0.0.{n}", 1) for n in range(2)]
    unix = UnixAddress("/a")
    name = TcpAddress("shop", 1)
    mixed: list[Address] = [*six, *four, unix, name, six[0]]
    assert interleave(mixed) == [six[0], four[0], unix, name, six[1], four[1], six[2]]
    assert interleave([]) == []
