"""Method, ServiceDefinition and Pattern."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from gyrfalcon.rpc import JSON, PROTOBUF, Method, Pattern, Service, ServiceDefinition


def test_a_method_may_be_made_with_its_types() -> None:
    made = Method[StringValue, Int32Value](
        "ecommerce.OrderManagement",
        "getOrder",
        "get_order",
        Pattern.UNARY_UNARY,
        StringValue,
        Int32Value,
    )
    assert made == method()


def method(name: str = "getOrder", service: str = "ecommerce.OrderManagement") -> Method[Any, Any]:
    return Method(service, name, "get_order", Pattern.UNARY_UNARY, StringValue, Int32Value)


def test_path_keeps_the_spelling_of_the_proto() -> None:
    assert method().path == "/ecommerce.OrderManagement/getOrder"
    assert method().codec is PROTOBUF


def test_methods_are_values() -> None:
    assert method() == method()
    assert hash(method()) == hash(method())
    assert method() != method("GetOrder")
    assert method() != dataclasses.replace(method(), codec=JSON)
    assert len({method(), method(), method("other")}) == 2
    twin = pickle.loads(pickle.dumps(method()))
    assert twin.path == method().path
    with pytest.raises(dataclasses.FrozenInstanceError):
        method().name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("bad", ["", "a/b", "a b\n", "ü"])
def test_a_name_that_cannot_stand_in_a_path_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="Method name is"):
        method(name=bad)
    with pytest.raises(ValueError, match="Method service is"):
        method(service=bad)


@pytest.mark.parametrize(
    ("pattern", "client_streaming", "server_streaming"),
    [
        (Pattern.UNARY_UNARY, False, False),
        (Pattern.UNARY_STREAM, False, True),
        (Pattern.STREAM_UNARY, True, False),
        (Pattern.STREAM_STREAM, True, True),
    ],
)
def test_patterns_say_who_streams(
    pattern: Pattern, client_streaming: bool, server_streaming: bool
) -> None:
    assert pattern.client_streaming is client_streaming
    assert pattern.server_streaming is server_streaming
    assert pattern.value == (client_streaming, server_streaming)


def test_a_definition_holds_its_own_methods_once() -> None:
    definition = ServiceDefinition("ecommerce.OrderManagement", (method(), method("addOrder")))
    assert [each.name for each in definition.methods] == ["getOrder", "addOrder"]
    with pytest.raises(ValueError, match=r"'/ecommerce\.OrderManagement/getOrder' twice"):
        ServiceDefinition("ecommerce.OrderManagement", (method(), method()))
    with pytest.raises(ValueError, match=r"its service is 'ecommerce\.OrderManagement'"):
        ServiceDefinition("ecommerce.Other", (method(),))


def test_a_service_class_carries_its_definition() -> None:
    class Orders(Service):
        __gyr_service__ = ServiceDefinition("ecommerce.OrderManagement", (method(),))

    assert Orders().__gyr_service__.methods == (method(),)
