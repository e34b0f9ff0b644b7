"""`gyr list` and `gyr describe`: what is there, from reflection and from .proto files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

import gyrfalcon as gyr
from gyrfalcon.codegen.protoc import read_descriptors
from tests.cli.running import Ran, run
from tests.cli.zoo import PROTOS, Mirror, files

ZOO = ("--proto", PROTOS / "zoo.proto")
METHODS = "".join(
    f"zoo.Keeper/{name}\n" for name in ("Greet", "Parade", "Count", "Echo", "Whistle")
)

SERVICE = """\
// zoo.Keeper, in zoo.proto
service Keeper {
  rpc Greet (zoo.Animal) returns (zoo.Animal);
  rpc Parade (zoo.Animal) returns (stream zoo.Animal);
  rpc Count (stream zoo.Animal) returns (google.protobuf.Int64Value);
  rpc Echo (stream zoo.Animal) returns (stream zoo.Animal);
  rpc Whistle (google.protobuf.StringValue) returns (zoo.Sound) {
    option deprecated = true;
  }
}
"""

ANIMAL = """\
// zoo.Animal, in zoo.proto
// One animal.
message Animal {
  message Area {
    double size = 1;
  }
  // What it is called.
  string name = 1;
  zoo.Kind kind = 2;
  repeated string foods = 3;
  map<string, int32> cubs = 4;
  oneof home {
    string cage = 5;
    zoo.Animal.Area area = 6;
  }
  google.protobuf.Timestamp born = 7;
  google.protobuf.Any tag = 8;
  int64 weight = 9 [deprecated = true];
  optional int32 legs = 10;
  zoo.Animal mother = 11;
  bytes picture = 12 [json_name = "photo"];
  reserved 20 to 22, 30;
  reserved "colour";
}
"""

KIND = """\
// zoo.Kind, in kinds.proto
// What an animal is.
enum Kind {
  UNKNOWN = 0;
  // meows
  CAT = 1;
  BEAR = 2 [deprecated = true];
  reserved 5 to 7, 9 to max;
}
"""

SOUND = """\
// zoo.Sound, in sounds.proto
message Sound {
  required string text = 1 [default = "roar \\"loud\\""];
  optional float volume = 2 [default = 1.5];
  repeated int32 notes = 3 [packed = true];
  extensions 100 to max;
}
"""

WHISTLE = f"""\
// zoo.Keeper.Whistle, in zoo.proto
rpc Whistle (google.protobuf.StringValue) returns (zoo.Sound) {{
  option deprecated = true;
}}

// google.protobuf.StringValue, in google/protobuf/wrappers.proto
message StringValue {{
  string value = 1;
}}

{SOUND}"""

EXTENSION = """\
// zoo.chips.instrument, in chips.proto
extend zoo.Sound {
  optional string instrument = 100;
}
"""


def test_list_services(target: str, mirror: Mirror) -> None:
    mirror.services = ["zoo.Keeper", "a.B"]
    assert run("list", target) == Ran(0, "a.B\nzoo.Keeper\n", "")


def test_list_methods(target: str) -> None:
    assert run("list", target, "zoo.Keeper") == Ran(0, METHODS, "")


def test_list_of_proto_files_needs_no_server() -> None:
    ran = [run("list", *ZOO), run("list", *ZOO, "zoo.Keeper")]
    assert ran == [Ran(0, "zoo.Keeper\n", ""), Ran(0, METHODS, "")]


def test_list_of_proto_files_takes_a_server_too() -> None:
    ran = [run("list", *ZOO, "localhost:1"), run("list", *ZOO, "localhost:1", "zoo.Keeper")]
    assert ran == [Ran(0, "zoo.Keeper\n", ""), Ran(0, METHODS, "")]


def test_list_of_an_unknown_service(target: str) -> None:
    expected = "Error: there is no service 'zoo.Kepper'\nHint: did you mean zoo.Keeper?\n"
    assert run("list", target, "zoo.Kepper") == Ran(2, "", expected)


@pytest.mark.parametrize("verb", ["list", "describe"])
def test_somebody_has_to_be_asked(verb: str) -> None:
    ran = run(verb)
    assert (ran.status, ran.stdout) == (2, "")
    assert ran.stderr.endswith("Error: say whom to ask: HOST:PORT, or --proto FILE\n")


def test_three_arguments_are_too_many() -> None:
    ran = run("list", "localhost:1", "a", "b")
    assert ran.status == 2
    assert ran.stderr.endswith("Error: got 3 arguments: give HOST:PORT and a SERVICE\n")


@pytest.mark.parametrize("symbol", [[], ["zoo.Keeper"]])
def test_describe_a_service_by_reflection(target: str, symbol: list[str]) -> None:
    assert run("describe", target, *symbol) == Ran(0, SERVICE, "")


@pytest.mark.parametrize("symbol", ["zoo.Keeper/Whistle", "zoo.Keeper.Whistle"])
def test_describe_a_method_with_its_messages(target: str, symbol: str) -> None:
    assert run("describe", target, symbol) == Ran(0, WHISTLE, "")


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [("zoo.Animal", ANIMAL), ("zoo.Kind", KIND), ("zoo.Sound", SOUND)],
)
def test_describe_from_proto_files_has_comments(symbol: str, expected: str) -> None:
    assert run("describe", *ZOO, symbol) == Ran(0, expected, "")


def test_describe_an_extension(target: str) -> None:
    assert run("describe", target, "zoo.chips.instrument") == Ran(0, EXTENSION, "")


def test_what_is_described_compiles_to_the_same(tmp_path: Path) -> None:
    described = [run("describe", *ZOO, name).stdout for name in ("zoo.Animal", "zoo.Keeper")]
    imports = ("google/protobuf/any", "google/protobuf/timestamp", "google/protobuf/wrappers")
    head = "".join(f'import "{one}.proto";\n' for one in (*imports, "kinds", "sounds"))
    source = f'syntax = "proto3";\npackage zoo;\n{head}' + "".join(described)
    (tmp_path / "zoo.proto").write_text(source, encoding="utf-8")
    compiled = read_descriptors([tmp_path / "zoo.proto"], [tmp_path, PROTOS])[-1]
    compiled.ClearField("source_code_info")
    assert compiled == files()["zoo.proto"]


def test_describe_what_is_not_there(target: str) -> None:
    expected = "Error: nothing is called 'zoo.Keepe'\nHint: did you mean zoo.Keeper?\n"
    assert run("describe", target, "zoo.Keepe") == Ran(2, "", expected)


@pytest.mark.parametrize("symbol", ["zoo.Animal", "zoo.Keeper/Greet", "zoo.Keeper.Greet"])
def test_a_template_is_a_request(target: str, symbol: str) -> None:
    template = run("describe", target, symbol, "--template")
    assert (template.status, template.stderr) == (0, "")
    called = run("call", target, "zoo.Keeper/Greet", "--emit-defaults", "-d", template.stdout)
    given, answered = json.loads(template.stdout), json.loads(called.stdout)
    del given["mother"], answered["mother"]
    assert answered == given


def test_a_template_of_a_proto2_message(target: str) -> None:
    expected = '{"text": "", "volume": 0.0, "notes": [0]}\n'
    assert run("describe", target, "zoo.Sound", "--template") == Ran(0, expected, "")


def test_a_template_shows_every_kind_of_field(target: str) -> None:
    expected = (
        '{"name": "", "kind": "UNKNOWN", "foods": [""], "cubs": {"": 0}, "cage": "", '
        '"born": "1970-01-01T00:00:00Z", '
        '"tag": {"@type": "type.googleapis.com/google.protobuf.Empty"}, '
        '"weight": "0", "legs": 0, "mother": {}, "photo": ""}\n'
    )
    assert run("describe", target, "zoo.Animal", "--template") == Ran(0, expected, "")


def test_only_messages_have_a_template(target: str) -> None:
    expected = "Error: zoo.Keeper is no message: --template shows messages and requests\n"
    assert run("describe", target, "zoo.Keeper", "--template") == Ran(2, "", expected)
    ran = run("describe", target, "--template")
    assert ran.stderr.endswith("--template needs a message or a method: give its name\n")


# ---------------------------------------------------------------- reflection that misbehaves


def test_imports_are_asked_for_together(target: str, mirror: Mirror) -> None:
    assert run("list", target, "zoo.Keeper").status == 0
    assert mirror.asked == [
        "file_containing_symbol zoo.Keeper",
        *(
            f"file_by_filename {name}.proto"
            for name in (
                "google/protobuf/any",
                "google/protobuf/timestamp",
                "google/protobuf/wrappers",
                "kinds",
                "sounds",
            )
        ),
    ]


def test_protobufs_own_files_may_be_missing(target: str, mirror: Mirror) -> None:
    mirror.files = {name: file for name, file in files().items() if "/" not in name}
    assert run("list", target, "zoo.Keeper") == Ran(0, METHODS, "")


def test_another_missing_file_is_named(target: str, mirror: Mirror) -> None:
    del mirror.files["kinds.proto"]
    expected = (
        "Error: the server's reflection does not know the file 'kinds.proto', which its definition "
        "imports\nHint: give the definition with --proto FILE (and -I FOLDER)\n"
    )
    assert run("list", target, "zoo.Keeper") == Ran(1, "", expected)


def test_files_that_import_each_other(target: str, mirror: Mirror) -> None:
    circle = FileDescriptorProto()
    circle.CopyFrom(mirror.files["kinds.proto"])
    circle.dependency.append("zoo.proto")
    mirror.files["kinds.proto"] = circle
    expected = (
        "Error: the definition cannot be used: files import each other (kinds.proto, zoo.proto)\n"
    )
    assert run("list", target, "zoo.Keeper") == Ran(1, "", expected)


def test_a_file_that_is_not_valid(target: str, mirror: Mirror) -> None:
    broken = FileDescriptorProto()
    broken.CopyFrom(mirror.files["kinds.proto"])
    broken.enum_type[0].name = "not a name"
    mirror.files["kinds.proto"] = broken
    ran = run("list", target, "zoo.Keeper")
    assert (ran.status, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Error: the definition cannot be used: kinds.proto: ")
    with pytest.raises(TypeError):
        DescriptorPool().AddSerializedFile(broken.SerializeToString())


def test_reflection_that_refuses(target: str, mirror: Mirror) -> None:
    mirror.error = (7, "not for you")
    expected = "Error: PERMISSION_DENIED: reflection: not for you\n"
    assert run("list", target) == Ran(64 + 7, "", expected)


def test_reflection_that_fails_with_a_code_of_its_own(target: str, mirror: Mirror) -> None:
    mirror.error = (99, "?")
    assert run("list", target) == Ran(64 + 2, "", "Error: UNKNOWN: reflection: ?\n")


def test_reflection_that_cannot_tell_of_extensions(target: str, mirror: Mirror) -> None:
    mirror.failures["all_extension_numbers_of_type"] = gyr.Unimplemented("not that")
    ran = run("call", target, "zoo.Keeper/Whistle", "-d", '"trill"')
    assert ran == Ran(0, '{"text": "trill"}\n', "")


def test_reflection_that_ends_the_call_with_not_found(target: str, mirror: Mirror) -> None:
    mirror.failures["not found"] = gyr.NotFound("what?")
    mirror.files = {name: file for name, file in files().items() if "/" not in name}
    assert run("list", target, "zoo.Keeper") == Ran(0, METHODS, "")
    expected = "Error: there is no service 'zoo.Kepper'\nHint: did you mean zoo.Keeper?\n"
    assert run("list", target, "zoo.Kepper") == Ran(2, "", expected)


@pytest.mark.parametrize(("answers", "what"), [(0, "fewer"), (2, "more")])
def test_reflection_that_answers_too_little_or_too_much(
    target: str, mirror: Mirror, answers: int, what: str
) -> None:
    mirror.answers = answers
    expected = f"Error: INTERNAL: reflection gave {what} answers than there were questions\n"
    assert run("list", target) == Ran(64 + 13, "", expected)


def test_reflection_that_sends_no_files(target: str, mirror: Mirror) -> None:
    mirror.garbage = b"\xff"
    ran = run("list", target, "zoo.Keeper")
    assert (ran.status, ran.stdout) == (64 + 13, "")
    assert ran.stderr.startswith("Error: INTERNAL: reflection sent a file that cannot be read: ")
