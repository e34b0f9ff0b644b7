"""The exception classes: one for each code, made, shown, pickled and turned into a status."""

from __future__ import annotations

import copy
import pickle

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any
from google.protobuf.wrappers_pb2 import StringValue

from gyrfalcon import rpc
from gyrfalcon.rpc import (
    Aborted,
    Internal,
    Metadata,
    NotFound,
    RpcError,
    Status,
    StatusCode,
    Unknown,
    error_class,
    from_status,
)

CODES = [code for code in StatusCode if code is not StatusCode.OK]


class OrderMissing(NotFound):
    def __init__(self, number: int) -> None:
        super().__init__(f"no order {number}")
        self.number = number


class Teapot(RpcError):
    pass


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_class_of_its_name(code: StatusCode) -> None:
    kind = error_class(code)
    assert kind.__name__ == code.name.title().replace("_", "")
    assert getattr(rpc, kind.__name__) is kind
    assert kind.code is code
    assert issubclass(kind, RpcError)
    assert kind("why").code is code
    assert type(from_status(code, "why")) is kind
    assert type(RpcError("why", code=code)) is kind


def test_an_error_made_bare_is_empty() -> None:
    error = NotFound()
    assert error.message == ""
    assert error.details == ()
    assert error.initial_metadata == Metadata()
    assert error.trailing_metadata == Metadata()
    assert error.method is None
    assert error.peer is None
    assert error.status == Status(StatusCode.NOT_FOUND)


def test_a_raised_error_is_caught_as_what_it_is() -> None:
    with pytest.raises(NotFound, match="no order '7'") as caught:
        raise RpcError("no order '7'", code=StatusCode.NOT_FOUND)
    assert caught.value.code is StatusCode.NOT_FOUND


def test_rpc_error_without_a_code_is_unknown() -> None:
    assert type(RpcError("why")) is Unknown


def test_a_class_keeps_its_code() -> None:
    assert NotFound("x", code=StatusCode.NOT_FOUND).code is StatusCode.NOT_FOUND
    with pytest.raises(ValueError, match=r"NotFound has the code NOT_FOUND, not ABORTED.*Aborted"):
        NotFound("x", code=StatusCode.ABORTED)
    with pytest.raises(ValueError, match="OrderMissing has the code NOT_FOUND"):
        OrderMissing(7)._take_code(StatusCode.ABORTED)


def test_a_class_of_ones_own_takes_any_code() -> None:
    assert Teapot("hot").code is StatusCode.UNKNOWN
    error = Teapot("hot", code=StatusCode.UNAVAILABLE)
    assert type(error) is Teapot
    assert error.code is StatusCode.UNAVAILABLE
    assert Teapot.code is StatusCode.UNKNOWN
    assert repr(error) == "Teapot('hot', code=UNAVAILABLE)"
    assert str(error) == "UNAVAILABLE: hot"


def test_ok_is_not_an_error() -> None:
    for make in (lambda: error_class(0), lambda: from_status(0), lambda: RpcError("x", code=OK)):
        with pytest.raises(ValueError, match="OK is not an error"):
            make()
    with pytest.raises(ValueError, match="OK is not an error"):
        Teapot("x", code=OK)


OK = StatusCode.OK


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [(17, "hm", "hm (status code 17)"), (99, "", "status code 99"), (-1, "", "status code -1")],
)
def test_a_number_that_is_no_code_is_unknown_and_kept(
    code: int, message: str, expected: str
) -> None:
    error = from_status(code, message)
    assert type(error) is Unknown
    assert error.message == expected


def test_shown_with_code_and_message() -> None:
    assert str(NotFound("no order '7'")) == "NOT_FOUND: no order '7'"
    assert str(NotFound()) == "NOT_FOUND"
    assert str(OrderMissing(7)) == "NOT_FOUND: no order 7"
    assert repr(NotFound("no order '7'")) == """NotFound("no order '7'", code=NOT_FOUND)"""


def test_shown_with_all_that_is_known() -> None:
    error = from_status(
        5,
        "gone",
        method="/shop.Orders/Get",
        peer="ipv4:127.0.0.1:50051",
        details=[StringValue(value="x"), Any(type_url="t/nobody.knows.This", value=b"1")],
        trailing_metadata=Metadata({"a": "1"}),
    )
    shown = (
        'google.protobuf.StringValue {value: "x"}, '
        'google.protobuf.Any {type_url: "t/nobody.knows.This" value: "1"}'
    )
    assert str(error) == (
        f"NOT_FOUND: gone (method /shop.Orders/Get, peer ipv4:127.0.0.1:50051, details {shown})"
    )
    assert repr(error) == (
        "NotFound('gone', code=NOT_FOUND, method='/shop.Orders/Get', peer='ipv4:127.0.0.1:50051',"
        f" details=[{shown}], trailing_metadata=Metadata([('a', '1')]))"
    )
    assert repr(error.status) == f"Status(NOT_FOUND, 'gone', details=[{shown}])"


def test_what_a_peer_wrote_cannot_forge_a_line_nor_fill_a_log() -> None:
    error = from_status(
        13,
        "a\nINFO all is well\x1b[0m" + "x" * 100_000,
        method="/s/m\r\n",
        details=[StringValue(value="y" * 100_000)] * 50,
        trailing_metadata=Metadata._from_wire([(f"k{n}", "z" * 1000) for n in range(100)]),
    )
    for shown in (str(error), repr(error), repr(error.status)):
        assert shown.isprintable()
        assert r"a\nINFO all is well\x1b[0m" in shown
        assert len(shown) < 3000
    assert r"method /s/m\r\n" in str(error)


def test_a_message_that_is_no_text_is_taken_as_printed() -> None:
    error = NotFound(KeyError("7"))  # type: ignore[arg-type]
    assert error.message == "'7'"


@pytest.mark.parametrize("kind", [error_class(code) for code in CODES])
def test_every_class_takes_details(kind: type[RpcError]) -> None:
    details = (StringValue(value="d"), Any(type_url="t/nobody.knows.This", value=b"1"))
    assert kind("x", details=details).details == details
    assert kind("x", details=iter(details)).details == details  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        (["reason"], "error detail 'reason' is str: details are protobuf messages"),
        ("reason", "error detail 'r' is str"),
        (StringValue(), "details is StringValue, and must be a list of protobuf messages"),
        (7, "details is int"),
    ],
)
def test_details_that_cannot_be_sent_are_refused_where_they_are_given(
    details: object, expected: str
) -> None:
    with pytest.raises(TypeError, match=expected):
        Aborted("x", details=details)  # type: ignore[arg-type]
    error = Aborted("x")
    with pytest.raises(TypeError, match=expected):
        error.details = details  # type: ignore[assignment]


def test_from_status_keeps_the_metadata_it_is_given() -> None:
    initial = Metadata._from_wire([("server", "x")])
    trailing = Metadata._from_wire([("cause", "y")])
    error = from_status(13, "broken", initial_metadata=initial, trailing_metadata=trailing)
    assert type(error) is Internal
    assert error.initial_metadata is initial
    assert error.trailing_metadata is trailing


def test_received_details_are_decoded_when_read() -> None:
    data = Aborted("x", details=[StringValue(value="d")]).status.encoded_details()
    assert from_status(10, "x", details=data).details == (StringValue(value="d"),)
    assert from_status(10, "x", details=b"\xff\xff").details == ()
    assert from_status(10, "x", details=[StringValue()]).details == (StringValue(),)


def test_details_can_be_set() -> None:
    error = Aborted("x")
    error.details = [StringValue(value="d")]
    assert error.details == (StringValue(value="d"),)


def test_trailing_metadata_is_checked() -> None:
    assert Aborted(trailing_metadata={"a": "1"}).trailing_metadata["a"] == "1"
    with pytest.raises(ValueError, match="grpc-status"):
        Aborted("x", trailing_metadata={"grpc-status": "0"})


def through_pickle(error: RpcError) -> RpcError:
    restored: RpcError = pickle.loads(pickle.dumps(error))
    return restored


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("twin_of", [copy.copy, through_pickle])
def test_survives_pickle_and_copy(code: StatusCode, twin_of: object) -> None:
    error = from_status(
        code,
        "why",
        details=[StringValue(value="d"), Any(type_url="t/nobody.knows.This", value=b"1")],
        initial_metadata=Metadata({"a": "1"}),
        trailing_metadata=Metadata({"b-bin": b"2"}),
        method="/s/m",
        peer="unix:",
    )
    assert callable(twin_of)
    twin = twin_of(error)
    assert type(twin) is type(error)
    assert repr(twin) == repr(error)
    assert str(twin) == str(error)
    assert twin.args == error.args == ("why",)
    assert twin.status == error.status
    assert twin.initial_metadata == error.initial_metadata
    assert twin.trailing_metadata == error.trailing_metadata


def test_details_of_a_class_that_cannot_be_imported_survive_pickle() -> None:
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="own.proto", package="own", syntax="proto3")
    file.message_type.add(name="Reason")
    pool.AddSerializedFile(file.SerializeToString())
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("own.Reason"))
    twin = through_pickle(Aborted("x", details=[kind()]))
    assert twin.details == (Any(type_url="type.googleapis.com/own.Reason"),)


def test_a_subclass_with_arguments_of_its_own_survives_pickle() -> None:
    error = through_pickle(OrderMissing(7))
    assert isinstance(error, OrderMissing)
    assert (error.number, error.message, error.code) == (7, "no order 7", StatusCode.NOT_FOUND)
    own = through_pickle(Teapot("hot", code=StatusCode.UNAVAILABLE))
    assert type(own) is Teapot
    assert own.code is StatusCode.UNAVAILABLE
