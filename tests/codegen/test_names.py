"""Python names for proto names."""

from __future__ import annotations

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyrfalcon.codegen.names import Scope, attribute_name, is_speakable, module_alias, snake_case


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("getOrder", "get_order"),
        ("GetOrder", "get_order"),
        ("get_order", "get_order"),
        ("Get_Order", "get_order"),
        ("GET_ORDER", "get_order"),
        ("get__order_", "get_order"),
        ("A", "a"),
        ("SayHello", "say_hello"),
        ("HTTPServer", "http_server"),
        ("GetHTTPResponse", "get_http_response"),
        ("GetHTTP", "get_http"),
        ("getX", "get_x"),
        ("ABTest", "ab_test"),
        ("ListURLs", "list_urls"),
        ("ListVMsByZone", "list_vms_by_zone"),
        ("CheckHTTPS", "check_https"),
        ("GetIPv4Address", "get_ipv4_address"),
        ("GetV2Order", "get_v2_order"),
        ("GetOrderV2", "get_order_v2"),
        ("GetV1Beta1", "get_v1_beta1"),
        ("Getv1beta1", "getv1beta1"),
        ("HTTP2Server", "http2_server"),
        ("S3Bucket", "s3_bucket"),
        ("ParseX509Cert", "parse_x509_cert"),
        ("MD5sum", "md5sum"),
        ("Get2nd", "get2nd"),
    ],
)
def test_snake_case(name: str, expected: str) -> None:
    assert snake_case(name) == expected


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("class", "class_"),
        ("Import", "import_"),
        ("None", "none"),
        ("match", "match"),
        ("_Hidden", "hidden"),
        ("__init__", "init"),
        ("_2Fast", "_2_fast"),
        ("_", "_"),
    ],
)
def test_attribute_name(method: str, expected: str) -> None:
    assert attribute_name(method) == expected


@given(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True))
def test_attribute_name_is_always_a_public_python_name(method: str) -> None:
    name = attribute_name(method)
    assert name.isidentifier()
    assert not keyword.iskeyword(name)
    assert name == name.lower()
    assert not name.startswith("__"), "a class body would mangle it"


@given(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True))
def test_snake_case_loses_no_letter_or_digit(name: str) -> None:
    assert snake_case(name).replace("_", "") == name.replace("_", "").lower()


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("order_pb2", "order_pb2"),
        ("shop.v1.cart_pb2", "shop_v1_cart_pb2"),
        ("_private_pb2", "private_pb2"),
        ("2nd_pb2", "m2nd_pb2"),
        ("a+b_pb2", "a_b_pb2"),
    ],
)
def test_module_alias(module: str, expected: str) -> None:
    assert module_alias(module) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("shop.v1", True), ("lambda.v1", False), ("v1.0", False), ("match.case", True)],
)
def test_is_speakable(path: str, expected: bool) -> None:
    assert is_speakable(path) is expected


def test_scope_gives_a_name_out_once() -> None:
    scope = Scope(["gyr", "gyr_"])
    assert [scope.take("gyr"), scope.take("order"), scope.take("order")] == [
        "gyr__",
        "order",
        "order_",
    ]
