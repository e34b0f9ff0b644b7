"""`gyr` as a process: what comes when, signals, pipes that end, what it costs to start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import Ran, run_process, start
from tests.cli.zoo import PROTOS

INTERRUPTED = 130


def test_requests_are_sent_as_they_come_and_replies_written_as_they_come(target: str) -> None:
    with start("call", target, "zoo.Keeper/Echo", "-d", "@-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for name in ("first", "second"):
            print(f'{{"name": "{name}"}}', file=process.stdin, flush=True)
            assert process.stdout.readline() == f'{{"name": "{name}"}}\n'
        assert process.communicate() == ("", "")
    assert process.returncode == 0


def test_a_server_that_has_heard_enough_ends_it_before_stdin_does(target: str) -> None:
    with start("call", target, "zoo.Keeper/Count") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        print('{} {"name": "enough"}', file=process.stdin, flush=True)
        assert process.stdout.readline() == '"1"\n'
        assert process.wait() == 0
        process.communicate()


def test_a_fault_in_the_requests_ends_the_call(target: str) -> None:
    with start("call", target, "zoo.Keeper/Echo") as process:
        assert process.stdin is not None
        assert process.stderr is not None
        print("{}\n{]", file=process.stdin, flush=True)
        assert process.wait() == 2
        found = process.communicate()
    assert found[1].startswith("Error: standard input, line 2: this is no JSON: ")


@pytest.mark.parametrize("data", [["-d", '{"name": "endless", "weight": 1}'], ["-d", "@-"]])
def test_ctrl_c_ends_a_call_quietly(target: str, data: list[str]) -> None:
    method = "zoo.Keeper/Echo" if data[1] == "@-" else "zoo.Keeper/Parade"
    with start("call", target, method, *data) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if data[1] == "@-":
            print("{}", file=process.stdin, flush=True)
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait() == INTERRUPTED
        assert process.communicate() == ("", "")


def test_a_reader_that_goes_away_ends_it_quietly(target: str) -> None:
    with start("call", target, "zoo.Keeper/Echo") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        print("{}", file=process.stdin, flush=True)
        assert process.stdout.readline() == "{}\n"
        process.stdout.close()
        print("{}", file=process.stdin, flush=True)
        assert process.wait() == 1
        assert process.stderr.read() == ""


def test_stdin_may_be_closed(target: str) -> None:
    ran = run_process(
        *("call", target, "zoo.Keeper/Count"),
        stdin=None,
        preexec_fn=lambda: os.close(0),
    )
    expected = "Error: standard input is closed: there are no requests to read\n"
    assert ran == Ran(2, "", expected)


def test_stdin_may_be_a_file_or_nothing(target: str, tmp_path: Path) -> None:
    file = tmp_path / "requests"
    file.write_text("{}{}", encoding="utf-8")
    with file.open() as opened:
        assert run_process("call", target, "zoo.Keeper/Count", stdin=opened) == Ran(0, '"2"\n', "")
    nothing = subprocess.DEVNULL
    assert run_process("call", target, "zoo.Keeper/Count", stdin=nothing) == Ran(0, '"0"\n', "")


def test_replies_are_utf_8_whatever_the_locale(target: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    data = '{"name": "\\u732b"}'
    command = [sys.executable, "-m", "gyrfalcon.cli", "call", target, "zoo.Keeper/Greet"]
    done = subprocess.run([*command, "-d", data], env=environment, capture_output=True, check=True)
    assert done.stdout == '{"name": "猫"}\n'.encode()


def test_without_the_codegen_extra_proto_files_name_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['grpc_tools'] = None; import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'grpc_tools' else find(name, *a)\n"
        "import gyrfalcon.cli; gyrfalcon.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "list", "--proto", PROTOS / "zoo.proto"],
        capture_output=True,
        text=True,
        check=False,
    )
    expected = (
        "Error: gyr needs protoc to read .proto files; grpcio-tools brings it, and is not "
        "installed: pip install 'gyrfalcon[codegen]'\n"
    )
    assert Ran(done.returncode, done.stdout, done.stderr) == Ran(1, "", expected)


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("click", [], "gyr needs click, which is not installed: pip install 'gyrfalcon[cli]'"),
        (
            "click",
            ["generate"],
            "gyr needs click, which is not installed: pip install 'gyrfalcon[codegen]'",
        ),
        (
            "rich",
            ["bench", "localhost:1", "a.B/C"],
            "Error: gyr bench needs rich, which is not installed: pip install 'gyrfalcon[cli]'",
        ),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(
    missing: str, arguments: list[str], extra: str
) -> None:
    code = f"import sys; sys.modules['{missing}'] = None; import gyrfalcon.cli as c; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert Ran(done.returncode, done.stdout, done.stderr) == Ran(1, "", f"{extra}\n")


def test_help_needs_no_rich() -> None:
    code = "import sys; sys.modules['rich'] = None; import gyrfalcon.cli as c; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_verb_loads_no_other_verb() -> None:
    code = "import sys, gyrfalcon.cli.call; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {
        "rich",
        "gyrfalcon.codegen",
        "gyrfalcon.server",
        "gyrfalcon.cli.bench",
    } & loaded == set()
