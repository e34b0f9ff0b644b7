"""``protoc-gen-gyrfalcon``: the protoc plugin.

protoc starts it, writes a ``CodeGeneratorRequest`` to its standard input and reads a
``CodeGeneratorResponse`` from its standard output (``google/protobuf/compiler/plugin.proto``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import Edition, FileDescriptorProto

from .errors import GenerationError
from .model import MessageIndex, module_model
from .modules import Importer, Imports, is_bundled, module_name, module_path
from .render import render

_USAGE = """\
protoc-gen-gyrfalcon is started by protoc or buf:

    protoc -I protos --gyrfalcon_out=DIR [--gyrfalcon_opt=imports=auto|relative|absolute] FILES

`gyr generate` needs no protoc of yours and generates the message modules too."""


def main() -> None:
    """Answer the request on standard input; exit with status 2 when nobody sent one."""
    if len(sys.argv) > 1 or sys.stdin.isatty():
        print(_USAGE, file=sys.stderr)
        sys.exit(2)
    request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    sys.stdout.buffer.write(answer(request).SerializeToString(deterministic=True))


def answer(request: CodeGeneratorRequest) -> CodeGeneratorResponse:
    """What protoc is told: the generated files, or one error."""
    response = CodeGeneratorResponse(
        supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
        | CodeGeneratorResponse.FEATURE_SUPPORTS_EDITIONS,
        minimum_edition=Edition.EDITION_PROTO2,
        maximum_edition=Edition.EDITION_2024,
    )
    try:
        imports = parse_parameter(request.parameter)
        local = local_modules(request.file_to_generate)
        for path, text in service_modules(
            request.proto_file, request.file_to_generate, imports, local.__contains__
        ):
            response.file.add(name=path, content=text)
    except GenerationError as error:
        del response.file[:]
        response.error = str(error)
    return response


def parse_parameter(parameter: str) -> Imports:
    """The options of ``--gyrfalcon_opt``. Raises GenerationError for what it doesn't know."""
    imports = Imports.AUTO
    for option in filter(None, parameter.split(",")):
        key, _, value = option.partition("=")
        if key != "imports" or value not in {choice.value for choice in Imports}:
            known = "|".join(choice.value for choice in Imports)
            raise GenerationError(f"unknown option {option!r}; use imports={known}")
        imports = Imports(value)
    return imports


def local_modules(protos: Iterable[str]) -> set[str]:
    """The message modules of one run, which lie in one output folder."""
    modules = {module_name(proto, "_pb2") for proto in protos}
    return {module for module in modules if not is_bundled(module)}


def service_modules(
    files: Iterable[FileDescriptorProto],
    protos: Iterable[str],
    imports: Imports,
    is_local: Callable[[str], bool],
) -> Iterator[tuple[str, str]]:
    """Path and text of the module of each of ``protos`` that has services.

    ``files`` holds them and everything they import. ``is_local`` tells of a message module whether
    it lies in the same output folder.
    """
    files = list(files)
    index = MessageIndex(files)
    wanted = set(protos)
    for file in files:
        if file.name in wanted and file.service:
            module = module_name(file.name, "_gyr")
            importer = Importer(module, imports, is_local)
            yield module_path(module), render(module_model(file, index, importer))


if __name__ == "__main__":
    main()
