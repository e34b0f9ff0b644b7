"""`generate()`: which files it writes, and how it treats the output folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gyrfalcon.codegen.errors import GenerationError
from gyrfalcon.codegen.generation import generate, package_root
from tests.codegen.regenerate import PROTOS, VENDOR


def _run(out: Path, *names: str, package: bool | None = None) -> list[str]:
    generated = generate(
        [PROTOS / name for name in names], out, proto_paths=[PROTOS, VENDOR], package=package
    )
    return sorted(path.relative_to(out).as_posix() for path in generated.files)


def _package(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("# mine\n")
    return folder


def test_plain_folder_gets_modules_only(tmp_path: Path) -> None:
    assert _run(tmp_path / "gen", "helloworld.proto", "shop/common/types.proto") == [
        "helloworld_gyr.py",
        "helloworld_pb2.py",
        "helloworld_pb2.pyi",
        "shop/common/types_pb2.py",
        "shop/common/types_pb2.pyi",
    ]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_dir()) == [
        "common",
        "gen",
        "shop",
    ]


def test_package_gets_inits_where_they_are_missing(tmp_path: Path) -> None:
    root = _package(tmp_path / "front")
    made = _run(root / "proto", "shop/common/types.proto", "lambda/key-words.proto")
    assert [path for path in made if path.endswith("__init__.py")] == [
        "__init__.py",
        "lambda/__init__.py",
        "shop/__init__.py",
        "shop/common/__init__.py",
    ]
    assert (root / "__init__.py").read_text() == "# mine\n"
    assert not (tmp_path / "__init__.py").exists()


def test_init_that_is_there_is_kept(tmp_path: Path) -> None:
    out = _package(tmp_path / "proto")
    assert "__init__.py" not in _run(out, "helloworld.proto")
    assert (out / "__init__.py").read_text() == "# mine\n"


def test_package_can_be_asked_for(tmp_path: Path) -> None:
    assert "__init__.py" in _run(tmp_path / "gen", "helloworld.proto", package=True)
    text = (tmp_path / "gen" / "helloworld_gyr.py").read_text()
    assert "\nfrom . import helloworld_pb2\n" in text
    assert "TYPE_CHECKING" not in text


def test_package_can_be_denied(tmp_path: Path) -> None:
    out = _package(tmp_path / "gen")
    _run(out, "helloworld.proto", package=False)
    assert "    import helloworld_pb2\n" in (out / "helloworld_gyr.py").read_text()


@pytest.mark.parametrize(
    ("init", "folder", "expected"),
    [
        ("front", "front", "front"),
        ("front", "front/proto", "front"),
        ("front", "front/deep/proto", "front"),
        ("front", "beside/proto", None),
        ("front", "front/no-package/proto", None),
        ("no-package", "no-package/proto", None),
    ],
)
def test_package_root(tmp_path: Path, init: str, folder: str, expected: str | None) -> None:
    base = tmp_path / "a-base"
    _package(base / init)
    assert package_root(base / folder) == (expected and base / expected)


def test_folder_stands_for_the_protos_below_it(tmp_path: Path) -> None:
    made = _run(tmp_path, "shop/common", "nasty/types.proto", "shop/common/money.proto")
    assert [path for path in made if path.endswith("_pb2.py")] == [
        "nasty/types_pb2.py",
        "shop/common/money_pb2.py",
        "shop/common/types_pb2.py",
    ]


def test_folder_without_protos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(GenerationError, match=r"there are no \.proto files below .*empty"):
        generate([tmp_path / "empty"], tmp_path / "gen")


def test_current_folder_is_the_proto_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROTOS / "shop")
    made = generate([Path("common/money.proto")], tmp_path).files
    assert tmp_path / "common" / "money_pb2.py" in made


def test_text_that_is_not_new_is_not_written(tmp_path: Path) -> None:
    _run(tmp_path, "helloworld.proto")
    changed, same = tmp_path / "helloworld_pb2.py", tmp_path / "helloworld_gyr.py"
    changed.write_text("other")
    for path in (changed, same):
        os.utime(path, ns=(1, 1))
    _run(tmp_path, "helloworld.proto")
    assert (same.stat().st_mtime_ns, changed.stat().st_mtime_ns != 1) == (1, True)


def test_refused_protos_leave_nothing_behind(tmp_path: Path) -> None:
    bad = tmp_path / "bad.proto"
    bad.write_text('syntax = "proto3";\nmessage Half {\n')
    with pytest.raises(GenerationError, match=r"^protoc failed:\n.*bad\.proto:3:1: Reached end"):
        generate([bad], tmp_path / "gen", proto_paths=[tmp_path])
    assert not (tmp_path / "gen").exists()


def test_clash_leaves_nothing_behind(tmp_path: Path) -> None:
    bad = tmp_path / "bad.proto"
    bad.write_text(
        'syntax = "proto3";\nmessage M {}\n'
        "service S {\n  rpc getIt(M) returns (M);\n  rpc GetIt(M) returns (M);\n}\n"
    )
    with pytest.raises(GenerationError, match=r"^bad\.proto: methods getIt and GetIt of service S"):
        generate([bad], tmp_path / "gen", proto_paths=[tmp_path])
    assert not (tmp_path / "gen").exists()


def test_missing_protoc_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc_tools", None)
    with pytest.raises(GenerationError, match=r"pip install 'gyrfalcon\[codegen\]'"):
        _run(tmp_path, "helloworld.proto")


def test_warnings_are_handed_on(tmp_path: Path) -> None:
    proto = tmp_path / "unused.proto"
    proto.write_text('syntax = "proto3";\nimport "google/protobuf/empty.proto";\n')
    generated = generate([proto], tmp_path / "gen", proto_paths=[tmp_path])
    assert "Import google/protobuf/empty.proto is unused" in generated.warnings
