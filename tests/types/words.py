# pyright: reportUnnecessaryTypeIgnoreComment=error
"""What type checkers know of errors, statuses, metadata and methods: checked, never run.

A line with `type: ignore` is a mistake that they must find: without the error, the comment is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

import gyrfalcon as gyr
from retail.proto.order_management_pb2 import Order


def failures() -> None:
    try:
        raise gyr.InvalidArgument("no such id", details=[StringValue(value="106")])
    except gyr.NotFound as error:
        assert_type(error.code, gyr.StatusCode)
        assert_type(error.message, str)
        assert_type(error.details, tuple[Message, ...])
        assert_type(error.trailing_metadata, gyr.Metadata)
        assert_type((error.method, error.peer), tuple[str | None, str | None])
    except gyr.RpcError as error:
        assert_type(error.status, gyr.Status)

    assert_type(gyr.NotFound("no order"), gyr.NotFound)
    gyr.RpcError("aborted", code=gyr.StatusCode.ABORTED, trailing_metadata={"retry": "no"})

    gyr.NotFound(404)  # type: ignore[arg-type]
    gyr.NotFound("no order", detail="7")  # type: ignore[call-arg]
    gyr.NotFound("no order", details=["7"])  # type: ignore[list-item]
    gyr.RpcError("aborted", code="ABORTED")  # type: ignore[arg-type]


class OutOfStock(gyr.FailedPrecondition):
    def __init__(self, item: str) -> None:
        super().__init__(f"{item} is out of stock")
        self.item = item


assert_type(OutOfStock("Amazon Echo").item, str)


def statuses(status: gyr.Status) -> Sequence[Message]:
    assert_type(status.code, gyr.StatusCode)
    assert_type((status.message, status.ok), tuple[str, bool])
    assert_type(gyr.StatusCode(5), gyr.StatusCode)
    name: str = status.code.name
    code: int = status.code
    print(name, code)
    return status.details


def metadata(pairs: list[tuple[str, str]], mapping: dict[str, str]) -> None:
    metadata = gyr.Metadata(pairs)
    assert_type(metadata["tenant"], str | bytes)
    assert_type(metadata.get("tenant"), str | bytes | None)
    assert_type(metadata.get("tenant", 0), str | bytes | int)
    assert_type(metadata.get_all("tenant"), list[str | bytes])
    assert_type(metadata.items(), list[tuple[str, str | bytes]])
    assert_type(list(metadata), list[str])
    metadata["trace-bin"] = b"\x00"
    metadata["tenant"] = ["eu", "us"]
    for accepted in (gyr.Metadata(mapping), gyr.Metadata(metadata), gyr.Metadata()):
        accepted.add("tenant", "eu")

    metadata["tenant"] = 7  # type: ignore[assignment]
    metadata.add("tenant", ["eu"])  # type: ignore[arg-type]
    gyr.Metadata("tenant")  # type: ignore[arg-type]
    gyr.Metadata({"tenant": 7})  # type: ignore[dict-item]


def methods(channel: gyr.Channel) -> None:
    method = gyr.Method(
        service="shop.Orders",
        name="getOrder",
        attribute="get_order",
        pattern=gyr.Pattern.UNARY_UNARY,
        request=StringValue,
        response=Order,
        codec=gyr.PROTOBUF,
    )
    assert_type(method, gyr.Method[StringValue, Order])
    assert_type(gyr.UnaryUnary(channel, method), gyr.UnaryUnary[StringValue, Order])
    gyr.ServiceDefinition("shop.Orders", (method,))

    for codec in ("json", gyr.JSON, gyr.RAW, None):
        gyr.Channel("127.0.0.1:50051", codec=codec)
    gyr.CODECS.register(gyr.RawCodec("msgpack"))
    gyr.COMPRESSIONS.register(gyr.GzipCompression(9))

    gyr.Channel("127.0.0.1:50051", codec=7)  # type: ignore[arg-type]
    gyr.Method(service="shop.Orders", name="getOrder")  # type: ignore[call-arg]
    method.name = "get"  # type: ignore[misc]
