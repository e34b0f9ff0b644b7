"""The blocking channel: the asyncio channel, for threads."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..client.channel import Channel as AsyncChannel
from ..client.credentials import check_credentials, is_async, refusal_of_async
from ..policy.connectivity import ConnectivityState
from ..rpc.interceptor import refuse_async
from ..rpc.stats import ChannelStats
from .call import Place

_P = ParamSpec("_P")
_Self = TypeVar("_Self")


def _with_options_of(
    model: Callable[_P, object],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, _P], None]]:
    """Let a method take what `model` takes: to type checkers, and to inspect.signature."""

    def adopt(method: Callable[..., None]) -> Callable[Concatenate[Any, _P], None]:
        method.__wrapped__ = model.__init__  # type: ignore[attr-defined]
        return method

    return adopt


class Channel(Place):
    """Calls to one target from threads, which may share it.

    Target and options are those of `gyrfalcon.Channel`. A thread that waits for a call does what
    is to be done for it itself: the channel has no thread. What comes while nobody waits is read
    by one thread for all channels of the process. After a fork the child connects anew; calls that
    the parent had under way are the parent's.

    Leaving the `with` block closes it. Raises ValueError for a target or an option that makes no
    sense, TypeError for an interceptor that awaits, and for credentials that do.
    """

    @_with_options_of(AsyncChannel)
    def __init__(self, target: str, **options: Any) -> None:
        refuse_async(options.get("interceptors", ()))
        credentials = options.get("credentials")
        if credentials is not None and is_async(check_credentials(credentials)):
            raise refusal_of_async(credentials)
        self._target = target
        self._options = options
        super().__init__(AsyncChannel(target, **options))
        _CHANNELS.add(self)

    @property
    def target(self) -> str:
        """The target as it was given."""
        return self._target

    @property
    def state(self) -> ConnectivityState:
        """IDLE, CONNECTING, READY, TRANSIENT_FAILURE or SHUTDOWN."""
        return self.channel.state

    def wait_ready(self, timeout: float | None = None) -> None:
        """Connect if need be, and wait until the channel is READY.

        TimeoutError after `timeout` seconds; RuntimeError when the channel is closed before that.
        """
        self.run(self.channel.wait_ready(), timeout)

    def close(self, grace: float | None = None) -> None:
        """Close the channel, from any thread. Calls that run get `grace` seconds (None: none),
        then Cancelled."""
        self.shut(grace)

    def stats(self) -> ChannelStats:
        """The figures of this channel: its state, its calls, its subchannels, the limits that were
        met."""
        return self.channel.stats()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.drop()

    def __repr__(self) -> str:
        return f"<blocking Channel to {self._target!r} {self.state.name}>"

    def _forked(self) -> None:
        self.renew(AsyncChannel(self._target, **self._options))


_CHANNELS: weakref.WeakSet[Channel] = weakref.WeakSet()


def _renew_channels() -> None:
    for channel in list(_CHANNELS):
        channel._forked()


# After the janitor's, which was registered when its module was imported.
os.register_at_fork(after_in_child=_renew_channels)
