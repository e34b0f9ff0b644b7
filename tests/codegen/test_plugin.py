"""What the plugin tells protoc, beside the files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import Edition, FileDescriptorProto

from gyrfalcon.codegen.plugin import answer
from tests.codegen.regenerate import PLUGIN, run_protoc


def _file(name: str, **services: list[str]) -> FileDescriptorProto:
    """A proto file with services, whose methods all take and give the same message."""
    file = FileDescriptorProto(name=name, package="demo", syntax="proto3")
    file.message_type.add(name="Message")
    for service, methods in services.items():
        described = file.service.add(name=service)
        for method in methods:
            described.method.add(
                name=method, input_type=".demo.Message", output_type=".demo.Message"
            )
    return file


def _answer(file: FileDescriptorProto, parameter: str = "") -> CodeGeneratorResponse:
    return answer(
        CodeGeneratorRequest(file_to_generate=[file.name], proto_file=[file], parameter=parameter)
    )


def test_features() -> None:
    response = _answer(_file("demo.proto", Demo=["Get"]))
    assert response.supported_features == (
        CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
        | CodeGeneratorResponse.FEATURE_SUPPORTS_EDITIONS
    )
    assert response.minimum_edition == Edition.EDITION_PROTO2
    assert response.maximum_edition == Edition.EDITION_2024


def test_file_without_services_gives_no_module() -> None:
    response = _answer(_file("demo.proto"))
    assert (list(response.file), response.error) == ([], "")


def test_imported_file_gives_no_module() -> None:
    file, imported = _file("demo.proto", Demo=["Get"]), _file("imported.proto", Other=["Get"])
    imported.package = "imported"
    for method in imported.service[0].method:
        method.input_type = method.output_type = ".imported.Message"
    response = answer(
        CodeGeneratorRequest(file_to_generate=["demo.proto"], proto_file=[imported, file])
    )
    assert [made.name for made in response.file] == ["demo_gyr.py"]


@pytest.mark.parametrize(
    ("proto", "module"),
    [
        ("a/b/order.proto", "a/b/order_gyr.py"),
        ("key-words.proto", "key_words_gyr.py"),
        ("v1.orders.proto", "v1/orders_gyr.py"),
        ("old.protodevel", "old_gyr.py"),
    ],
)
def test_module_lies_beside_the_one_of_protoc(proto: str, module: str) -> None:
    assert [file.name for file in _answer(_file(proto, Demo=["Get"])).file] == [module]


def test_source_cannot_leave_its_comment() -> None:
    text = _answer(_file("a\nimport os.proto", Demo=["Get"])).file[0].content
    assert r"# Source: a\nimport os.proto" in text.splitlines()


def test_methods_with_one_python_name_are_refused() -> None:
    response = _answer(_file("demo.proto", Demo=["GetOrder", "Other", "getOrder"]))
    assert list(response.file) == []
    assert response.error == (
        "demo.proto: methods GetOrder and getOrder of service Demo would both be called "
        "get_order in Python; rename one of them"
    )


def test_classes_with_one_name_are_refused() -> None:
    response = _answer(_file("demo.proto", Demo=["Get"], DemoBlocking=["Get"]))
    assert response.error == (
        "demo.proto: services Demo and DemoBlocking would both have a class DemoBlockingStub in "
        "Python; rename one of them, or put them into two files"
    )


@pytest.mark.parametrize("parameter", ["imports=here", "paths=source_relative", "imports"])
def test_unknown_option_is_refused(parameter: str) -> None:
    response = _answer(_file("demo.proto", Demo=["Get"]), parameter)
    expected = f"unknown option {parameter!r}; use imports=relative|absolute|auto"
    assert (response.error, list(response.file)) == (expected, [])


def test_a_service_has_a_blocking_stub() -> None:
    text = _answer(_file("demo.proto", Demo=["Get"])).file[0].content
    assert text[text.index("class DemoBlockingStub") :] == (
        "class DemoBlockingStub:\n"
        '    """Calls ``demo.Demo`` from threads."""\n'
        "\n"
        "    def __init__(self, channel: gyr.blocking.Channel) -> None:\n"
        "        self.get = gyr.blocking.UnaryUnary(channel, _GET)\n"
        '        """Unary call of ``/demo.Demo/Get``."""\n'
    )
    assert '    "DemoBlockingStub",\n' in text


def test_protoc_reports_the_error(tmp_path: Path) -> None:
    done = run_protoc(f"--gyrfalcon_out=imports=no:{tmp_path}", "helloworld.proto")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "--gyrfalcon_out: unknown option 'imports=no'; use imports=relative|absolute|auto"
    )


def test_started_by_hand_it_says_how_to_use_it() -> None:
    done = subprocess.run([PLUGIN, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "protoc -I protos --gyrfalcon_out=DIR" in done.stderr


def test_plugin_starts_without_the_runtime() -> None:
    code = "import sys, gyrfalcon.codegen.plugin; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    unwanted = {"asyncio", "click", "grpc_tools", "ssl", "gyrfalcon._core", "gyrfalcon.client"}
    assert loaded & unwanted == set()
