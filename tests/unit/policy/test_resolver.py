"""The resolver of targets that need no resolving."""

from __future__ import annotations

from gyrfalcon.policy import Resolution, Resolver, StaticResolver, parse_target
from gyrfalcon.rpc import Status


class Listener:
    def __init__(self) -> None:
        self.resolutions: list[Resolution] = []
        self.failures: list[Status] = []

    def resolved(self, resolution: Resolution, /) -> bool:
        self.resolutions.append(resolution)
        return True

    def failed(self, status: Status, /) -> None:
        self.failures.append(status)


def test_addresses_of_the_target_are_pushed_once() -> None:
    listener = Listener()
    target = parse_target("ipv4:10.0.0.1:1,10.0.0.2:2")
    resolver: Resolver = StaticResolver(target, listener)
    assert listener.resolutions == []
    resolver.start()
    resolver.resolve_now()
    resolver.close()
    assert listener.resolutions == [Resolution(target.addresses)]
    assert listener.failures == []
