"""`gyr call`: the four patterns, requests and replies as JSON, metadata, failures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import Ran, run
from tests.cli.zoo import PROTOS, Mirror, keeper, reflection, serving


def test_unary(target: str) -> None:
    ran = run("call", target, "zoo.Keeper/Greet", "-d", '{"name": "Zoë", "kind": "CAT"}')
    assert ran == Ran(0, '{"name": "Zoë", "kind": "CAT"}\n', "")


@pytest.mark.parametrize("spec", ["/zoo.Keeper/Greet", "zoo.Keeper.Greet"])
def test_other_spellings_of_a_method(target: str, spec: str) -> None:
    assert run("call", target, spec, "-d", '{"name": "Bo"}') == Ran(0, '{"name": "Bo"}\n', "")


def test_without_data_one_empty_request_is_sent(target: str) -> None:
    assert run("call", target, "zoo.Keeper/Greet", stdin="nonsense") == Ran(0, "{}\n", "")


def test_server_streaming(target: str) -> None:
    ran = run("call", target, "zoo.Keeper/Parade", "-d", '{"name": "cat", "weight": 3}')
    assert ran == Ran(0, '{"name": "cat 0"}\n{"name": "cat 1"}\n{"name": "cat 2"}\n', "")


def test_client_streaming_from_several_data_options(target: str) -> None:
    ran = run("call", target, "zoo.Keeper/Count", "-d", "{}", "-d", '{"name": "a"} {"name": "b"}')
    assert ran == Ran(0, '"3"\n', "")


def test_client_streaming_without_a_request(target: str) -> None:
    assert run("call", target, "zoo.Keeper/Count", "-d", "") == Ran(0, '"0"\n', "")


@pytest.mark.parametrize("data", [[], ["-d", "@-"], ["-d", "@"], ["-d", "-"]])
def test_bidirectional_from_stdin(target: str, data: list[str]) -> None:
    requests = '{"name": "a"}\n\n{"name":\n "b"} {"name": "c"}'
    ran = run("call", target, "zoo.Keeper/Echo", *data, stdin=requests)
    assert ran == Ran(0, '{"name": "a"}\n{"name": "b"}\n{"name": "c"}\n', "")


def test_requests_from_a_file_between_others(target: str, tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text('\ufeff{"name": "b"}\n{"name": "c"}\n', encoding="utf-8")
    data = ["-d", '{"name": "a"}', "-d", f"@{file}", "-d", '{"name": "d"}']
    ran = run("call", target, "zoo.Keeper/Count", *data)
    assert ran == Ran(0, '"4"\n', "")


def test_a_request_that_json_writes_without_braces(target: str) -> None:
    # And with a reply whose extension is found by asking for it.
    ran = run("call", target, "zoo.Keeper/Whistle", "-d", '"trill"')
    assert ran == Ran(0, '{"text": "trill", "[zoo.chips.instrument]": "flute"}\n', "")


def test_every_kind_of_field_goes_there_and_back(target: str) -> None:
    request = (
        '{"name": "x", "kind": "BEAR", "foods": ["a"], "cubs": {"k": 1}, "area": {"size": 1.5}, '
        '"born": "2026-11-21T08:00:00Z", "tag": {"@type": "type.googleapis.com/zoo.chips.Chip", '
        '"number": "7"}, "weight": "9", "legs": 0, "mother": {"name": "y"}, "photo": "AQI="}'
    )
    assert run("call", target, "zoo.Keeper/Greet", "-d", request) == Ran(0, f"{request}\n", "")


def test_an_any_may_hold_a_well_known_type_that_nothing_imports(target: str) -> None:
    request = '{"tag": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "5s"}}'
    assert run("call", target, "zoo.Keeper/Greet", "-d", request) == Ran(0, f"{request}\n", "")


def test_defaults_are_emitted_when_asked_for(target: str) -> None:
    ran = run("call", target, "zoo.Keeper/Greet", "--emit-defaults")
    expected = (
        '{"name": "", "kind": "UNKNOWN", "foods": [], "cubs": {}, "weight": "0", "photo": ""}\n'
    )
    assert ran == Ran(0, expected, "")


def test_an_any_of_a_type_that_nobody_knows_shows_its_bytes(target: str) -> None:
    data = ["-d", '{"name": "odd"}', "-d", '{"name": "odd"}']
    expected = (
        '{"name": "odd", "tag": {"@type": "type.googleapis.com/nobody.Knows", "@value": "CAE="}}\n'
    )
    assert run("call", target, "zoo.Keeper/Greet", *data[:2]) == Ran(0, expected, "")


def test_metadata_is_sent_and_shown(target: str) -> None:
    ran = run(
        *("call", target, "zoo.Keeper/Greet", "-H", "Who: Bob", "-H", "x-bin: /w", "--plaintext"),
        "--show-metadata",
    )
    shown = "initial metadata:\n  keeper: Ada\n  badge-bin: /wA=\ntrailing metadata:\n  seen: Bob\n"
    assert ran == Ran(0, "{}\n", shown)


def test_metadata_of_a_call_that_fails_at_once(target: str) -> None:
    ran = run("call", target, "zoo.Keeper/Parade", "-d", '{"name": "broken"}', "--show-metadata")
    shown = "initial metadata: none\ntrailing metadata: none\nError: ABORTED: it rains\n"
    assert ran == Ran(64 + 10, "", shown)


def test_replies_before_a_failure_are_written(target: str) -> None:
    ran = run("call", target, "zoo.Keeper/Parade", "-d", '{"name": "broken", "weight": 1}')
    assert ran == Ran(64 + 10, '{"name": "broken 0"}\n', "Error: ABORTED: it rains\n")


def test_an_error_shows_its_details_and_no_control_characters(target: str) -> None:
    ran = run("call", target, "zoo.Keeper/Greet", "-d", '{"name": "lost"}')
    expected = (
        "Error: NOT_FOUND: no animal 'lost'\n"
        "  \\x1b[31mHint: none\n"
        'Detail: {"@type": "type.googleapis.com/google.protobuf.StringValue", '
        '"value": "try the \\u001bbears"}\n'
        'Detail: {"@type": "type.googleapis.com/zoo.chips.Chip", "number": "7"}\n'
        'Detail: {"@type": "type.googleapis.com/nobody.Knows", "@value": "CAE="}\n'
    )
    assert ran == Ran(64 + 5, "", expected)


@pytest.mark.parametrize("option", ["--timeout", "--deadline"])
def test_a_deadline_that_passes(target: str, option: str) -> None:
    ran = run("call", target, "zoo.Keeper/Greet", "-d", '{"name": "slow"}', option, "200ms")
    hint = "Hint: give it more time with --timeout SECONDS\n"
    assert (ran.status, ran.stdout) == (64 + 4, "")
    assert ran.stderr.startswith("Error: DEADLINE_EXCEEDED")
    assert ran.stderr.endswith(hint)


def test_proto_files_instead_of_reflection() -> None:
    with serving(keeper()) as target:
        arguments = ("call", target, "zoo.Keeper/Greet", "-d", '{"name": "a"}')
        by_path = run(*arguments, "--proto", PROTOS / "zoo.proto")
        by_folder = run(*arguments, "--proto", "zoo.proto", "-I", PROTOS)
        assert [by_path, by_folder] == [Ran(0, '{"name": "a"}\n', "")] * 2


def test_a_server_with_the_old_reflection(mirror: Mirror) -> None:
    with serving(keeper(), reflection(mirror, "v1alpha")) as target:
        assert run("call", target, "zoo.Keeper/Greet") == Ran(0, "{}\n", "")


def test_a_server_without_reflection() -> None:
    with serving(keeper()) as target:
        ran = run("call", target, "zoo.Keeper/Greet")
    expected = (
        "Error: UNIMPLEMENTED: the server has no reflection: "
        "give the definition with --proto FILE (and -I FOLDER)\n"
    )
    assert ran == Ran(64 + 12, "", expected)


def test_nobody_listens() -> None:
    with serving(keeper()) as target:
        pass
    ran = run("call", target, "zoo.Keeper/Greet")
    expected = (
        f"Error: UNAVAILABLE: connect to {target} failed: Connection refused\n"
        f"Hint: is a server running, and is {target} its address?\n"
    )
    assert ran == Ran(64 + 14, "", expected)


def test_waiting_for_a_server_that_never_comes() -> None:
    with serving(keeper()) as target:
        pass
    ran = run("call", target, "zoo.Keeper/Greet", "--wait-for-ready", "--timeout", "100ms")
    assert (ran.status, ran.stdout) == (64 + 4, "")
    assert "Connection refused" in ran.stderr


@pytest.mark.parametrize("option", [["--compression", "gzip"], ["--authority", "zoo:1"]])
def test_options_of_the_channel(target: str, option: list[str]) -> None:
    data = json.dumps({"name": "a" * 10_000})
    ran = run("call", target, "zoo.Keeper/Greet", "-d", data, *option)
    assert ran == Ran(0, f"{data}\n", "")


def test_a_reply_that_is_too_long(target: str) -> None:
    proto = ["--proto", str(PROTOS / "zoo.proto"), "--max-receive-bytes", "3"]
    ran = run("call", target, "zoo.Keeper/Greet", "-d", '{"name": "long"}', *proto)
    expected = (
        "Error: RESOURCE_EXHAUSTED: message of 6 bytes is over max_receive_bytes=3\n"
        "Hint: allow larger messages with --max-receive-bytes BYTES\n"
    )
    assert ran == Ran(64 + 8, "", expected)


WRONG = {
    "service": (
        ["zoo.Keper/Greet"],
        "there is no service 'zoo.Keper'\nHint: did you mean zoo.Keeper?",
    ),
    "package": (["Keeper/Greet"], "there is no service 'Keeper'\nHint: did you mean zoo.Keeper?"),
    "nothing like it": (
        ["a.B/C"],
        "there is no service 'a.B'\nHint: the services are zoo.Keeper",
    ),
    "method": (
        ["zoo.Keeper/greet"],
        "service 'zoo.Keeper' has no method 'greet'\nHint: did you mean Greet?",
    ),
    "no method": (["Greet"], "'Greet' names no method: write package.Service/Method"),
    "field": (
        ["zoo.Keeper/Greet", "-d", '{"area": {"siz": 1}}'],
        "-d: zoo.Animal.Area has no field 'siz'; its fields: size",
    ),
    "list": (
        ["zoo.Keeper/Greet", "-d", "[1]"],
        (
            "-d: zoo.Animal is written as a JSON object in braces, and this is a list\n"
            "Hint: gyr describe --template shows a zoo.Animal"
        ),
    ),
    "no JSON": (
        ["zoo.Keeper/Count", "-d", "{}", "-d", "{name: 1}"],
        (
            "-d number 2: this is no JSON: Expecting property name enclosed in double quotes: "
            "'{name: 1}'"
        ),
    ),
    "two": (
        ["zoo.Keeper/Greet", "-d", "{}", "-d", "{}"],
        "zoo.Keeper/Greet takes exactly one request, and there are more",
    ),
    "none": (
        ["zoo.Keeper/Greet", "-d", "@-"],
        "zoo.Keeper/Greet takes exactly one request, and none was given",
    ),
    "file": (
        ["zoo.Keeper/Greet", "-d", "@nowhere.json"],
        "-d: cannot read 'nowhere.json': No such file or directory",
    ),
    "proto": (
        ["zoo.Keeper/Greet", "--proto", "nowhere.proto"],
        "there is no file 'nowhere.proto'",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_was_asked_for_cannot_be(target: str, name: str) -> None:
    arguments, expected = WRONG[name]
    assert run("call", target, *arguments) == Ran(2, "", f"Error: {expected}\n")


def test_a_fault_in_a_later_line_is_found_there(target: str) -> None:
    ran = run("call", target, "zoo.Keeper/Count", stdin='{}\n\n{"name":\n7}\n')
    assert (ran.status, ran.stdout) == (2, "")
    assert ran.stderr.startswith("Error: standard input, line 3: Failed to parse name field")


OPTIONS = {
    "--timeout=1 day": "'1 day' is no duration above zero: write seconds, or a unit",
    "--timeout=0": "'0' is no duration above zero: write seconds, or a unit as in 500ms, 2m",
    "-Hname": "'name' is no pair: write 'key: value'",
    "-Hx-bin: *": "'x-bin: *': the value of 'x-bin' is base64",
    "-Hgrpc-x: 1": "metadata key 'grpc-x' is reserved for the protocol",
    "--authority=a b": "authority='a b' has a blank in it",
    "-I.": "-I/--proto-path says where --proto files are: give --proto too",
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_that_make_no_sense(target: str, option: str) -> None:
    ran = run("call", target, "zoo.Keeper/Greet", option)
    assert (ran.status, ran.stdout) == (2, "")
    assert OPTIONS[option] in ran.stderr


def test_an_address_that_is_none() -> None:
    ran = run("call", "http://localhost:50051", "zoo.Keeper/Greet")
    assert ran.status == 2
    assert "is a URL: write 'localhost:50051'" in ran.stderr


def test_a_proto_file_that_protoc_refuses(target: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.proto"
    file.write_text("nonsense\n", encoding="utf-8")
    ran = run("call", target, "a.B/C", "--proto", file)
    assert (ran.status, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Error: protoc failed:\n  ")
