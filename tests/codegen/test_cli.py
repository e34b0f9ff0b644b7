"""The command `gyr`."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import gyrfalcon as gyr
from gyrfalcon.cli.verbs import gyr as command
from tests.codegen.regenerate import PROTOS


def _gyr(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_generate_writes_and_lists_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = _gyr("generate", "-I", PROTOS, "--out", "gen", PROTOS / "helloworld.proto")
    expected = ["gen/helloworld_gyr.py", "gen/helloworld_pb2.py", "gen/helloworld_pb2.pyi"]
    assert (result.exit_code, result.output.split()) == (0, expected)
    assert all((tmp_path / name).is_file() for name in expected)


def test_generate_can_be_quiet(tmp_path: Path) -> None:
    result = _gyr("generate", "-q", "-I", PROTOS, "-o", tmp_path, PROTOS / "helloworld.proto")
    assert (result.exit_code, result.output) == (0, "")


def test_generate_package(tmp_path: Path) -> None:
    proto = PROTOS / "helloworld.proto"
    assert _gyr("generate", "--package", "-I", PROTOS, "-o", tmp_path, proto).exit_code == 0
    assert (tmp_path / "__init__.py").is_file()


def test_generate_shows_what_protoc_warns_of(tmp_path: Path) -> None:
    proto = tmp_path / "unused.proto"
    proto.write_text('syntax = "proto3";\nimport "google/protobuf/empty.proto";\n')
    result = _gyr("generate", "-q", "-I", tmp_path, "-o", tmp_path, proto)
    assert "empty.proto is unused" in result.stderr


def test_generate_fails_with_the_words_of_protoc(tmp_path: Path) -> None:
    proto = tmp_path / "bad.proto"
    proto.write_text('syntax = "proto3";\nnonsense\n')
    result = _gyr("generate", "-I", tmp_path, "-o", tmp_path / "gen", proto)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: protoc failed:\n{proto}:2:1: ")


def test_generate_names_a_missing_file(tmp_path: Path) -> None:
    result = _gyr("generate", "-o", tmp_path, tmp_path / "no.proto")
    assert result.exit_code == 2
    assert "no.proto' does not exist" in result.stderr


def test_help_lists_the_verbs() -> None:
    result = _gyr("--help")
    assert result.exit_code == 0
    assert "generate    Generate messages, services and stubs from .proto files." in result.output


def test_unknown_verb_is_refused() -> None:
    result = _gyr("fly")
    assert result.exit_code == 2
    assert "No such command 'fly'" in result.stderr


@pytest.mark.parametrize(
    "command_line",
    [[str(Path(sysconfig.get_path("scripts")) / "gyr")], [sys.executable, "-m", "gyrfalcon.cli"]],
    ids=["script", "module"],
)
def test_version(command_line: list[str]) -> None:
    done = subprocess.run([*command_line, "--version"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"gyrfalcon {gyr.__version__}\n", "")


def test_without_click_the_extra_is_named() -> None:
    code = "import sys; sys.modules['click'] = None; import gyrfalcon.cli; gyrfalcon.cli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "gyr needs click, which is not installed: pip install 'gyrfalcon[cli]'"
    )


def test_verbs_are_loaded_when_used() -> None:
    code = "import sys, gyrfalcon.cli.verbs; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"gyrfalcon.cli.generate", "gyrfalcon.codegen"} & set(done.stdout.split()) == set()
