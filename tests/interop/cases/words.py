"""What the cases say to each other: methods, messages and the way in which a case fails."""

from __future__ import annotations

from typing import Any

import gyrfalcon as gyr
from tests.interop.faces import AnyMethod
from tests.interop.protos.grpc.testing.messages_pb2 import Payload, SimpleRequest
from tests.interop.protos.grpc.testing.services_gyr import (
    TestServiceService,
    UnimplementedServiceService,
)

METHODS: dict[str, AnyMethod] = {
    method.name: method for method in TestServiceService.__gyr_service__.methods
}
(NO_SERVICE,) = UnimplementedServiceService.__gyr_service__.methods

LARGE_REQUEST = 271_828
LARGE_REPLY = 314_159

OK = int(gyr.StatusCode.OK)


class CaseFailed(AssertionError):
    """A peer did something else than the case asks for."""


def expect(what: str, actual: object, expected: object) -> None:
    if actual != expected:
        raise CaseFailed(f"{what}: {shown(actual)}, expected {shown(expected)}")


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:160]}… ({len(text)} characters)"


def zeros(size: int) -> Payload:
    return Payload(body=bytes(size))


def large_request(**fields: Any) -> SimpleRequest:
    return SimpleRequest(response_size=LARGE_REPLY, payload=zeros(LARGE_REQUEST), **fields)


def expect_zeros(what: str, payload: Payload, size: int) -> None:
    expect(f"size of {what}", len(payload.body), size)
    if payload.body.count(0) != size:
        raise CaseFailed(f"{what} is not all zeros")
