"""Generated modules import each other wherever the output folder is put."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gyrfalcon.codegen.generation import generate
from tests.codegen.regenerate import PROTOS, VENDOR, protos, run_protoc

# Imports every generated module below a prefix, says under which names message modules were
# loaded, and which classes the cart's methods take and give.
_PROGRAM = """
import importlib, pickle, sys
from pathlib import Path

folder, prefix = Path(sys.argv[1]), sys.argv[2]
for path in sorted(folder.rglob("*_*.py"), reverse=len(sys.argv) > 3):
    if path.name != "__init__.py":
        name = ".".join(path.relative_to(folder).with_suffix("").parts)
        importlib.import_module(prefix + name)
cart = importlib.import_module(prefix + "shop.v1.cart_gyr")
for method in cart.CartsService.__gyr_service__.methods:
    assert pickle.loads(pickle.dumps(method.request())) == method.request()
    print(method.attribute, method.request.__module__, method.response.__module__)
generated = {n for n in sys.modules if n.endswith(("_pb2", "_gyr")) and "google." not in n}
print(*sorted(n for n in generated if not n.startswith(prefix)))
"""


def _import_all(path: Path, out: Path, prefix: str, *arguments: str) -> list[str]:
    """The program's lines, run with `path` as the only folder of its own on sys.path."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PROGRAM, str(out), prefix, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=path,
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def _expected(prefix: str) -> list[str]:
    return [
        f"get_total {prefix}shop.v1.cart_pb2 {prefix}shop.common.money_pb2",
        f"watch google.protobuf.timestamp_pb2 {prefix}shop.v1.cart_pb2",
        f"order {prefix}shop.v1.cart_pb2 {prefix}order_management_pb2",
        f"pay {prefix}shop.v1.cart_pb2 acme.billing.invoice_pb2",
    ]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder for sys.path, in which somebody else's messages are installed."""
    generate([VENDOR], tmp_path, proto_paths=[VENDOR], package=False)
    return tmp_path


def _generate(out: Path, *names: str) -> None:
    generate([PROTOS / name for name in names], out, proto_paths=[PROTOS, VENDOR])


# Folders are put together here: sys.path has the one that the program runs in (by `-c`).
@pytest.mark.parametrize("order", [(), ("backwards",)])
def test_inside_a_package(site: Path, order: tuple[str, ...]) -> None:
    (site / "front").mkdir()
    (site / "front" / "__init__.py").touch()
    _generate(site / "front" / "proto", ".")
    lines = _import_all(site, site / "front" / "proto", "front.proto.", *order)
    assert lines == [*_expected("front.proto."), "acme.billing.invoice_pb2"]


@pytest.mark.parametrize("order", [(), ("backwards",)])
def test_in_a_plain_folder_on_the_path(site: Path, order: tuple[str, ...]) -> None:
    _generate(site, ".")
    assert _import_all(site, site, "", *order) == [*_expected(""), ""]


def test_in_a_plain_folder_below_the_path(site: Path) -> None:
    _generate(site / "gen", ".")
    lines = _import_all(site, site / "gen", "gen.")
    assert lines == [*_expected("gen."), "acme.billing.invoice_pb2"]


def test_plain_folder_that_becomes_a_package(site: Path) -> None:
    _generate(site / "gen", ".")
    (site / "gen" / "__init__.py").touch()
    lines = _import_all(site, site / "gen", "gen.")
    assert lines == [*_expected("gen."), "acme.billing.invoice_pb2"]


def test_modules_of_an_earlier_run_are_in_the_same_folder(site: Path) -> None:
    out = site / "front"
    out.mkdir()
    (out / "__init__.py").touch()
    for name in ("shop/common/money.proto", "shop/common/types.proto", "order_management.proto"):
        _generate(out, name)
    _generate(out, "shop/v1/cart.proto")
    assert _import_all(site, out, "front.") == [*_expected("front."), "acme.billing.invoice_pb2"]


@pytest.mark.parametrize("imports", ["auto", "absolute"])
def test_protoc_and_plugin_together(site: Path, imports: str) -> None:
    done = run_protoc(
        *(f"--python_out={site}", f"--gyrfalcon_out=imports={imports}:{site}"),
        # protoc's own modules don't import where a folder is called like a keyword.
        *(name for name in protos() if not name.startswith(("lambda/", "nasty/nasty"))),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert _import_all(site, site, "") == [*_expected(""), ""]


@pytest.mark.parametrize(("out", "prefix"), [("front", "front."), (".", ""), ("gen", "gen.")])
def test_folders_that_no_import_statement_can_name(tmp_path: Path, out: str, prefix: str) -> None:
    sources = {
        "v1.0/version.proto": "message Version {}",
        "class/public.proto": "message Public {}",
        "user.proto": (
            'import "v1.0/version.proto"; import public "class/public.proto";\n'
            "message User { Version version = 1; Public public = 2; }\n"
            "service Users { rpc Find(Version) returns (Public); }"
        ),
    }
    for name, source in sources.items():
        (tmp_path / "protos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "protos" / name).write_text(f'syntax = "proto3";\n{source}\n')
    (tmp_path / "front").mkdir()
    (tmp_path / "front" / "__init__.py").touch()
    generate([tmp_path / "protos"], tmp_path / out, proto_paths=[tmp_path / "protos"])
    program = (
        f"from {prefix}user_pb2 import Public, User\n"
        f"from {prefix}user_gyr import UsersService\n"
        "method, = UsersService.__gyr_service__.methods\n"
        "assert method.request is type(User().version)\n"
        "assert method.response is type(User().public) is Public\n"
        "print(method.request.__module__, method.response.__module__)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    expected = f"{prefix}v1.0.version_pb2 {prefix}class.public_pb2\n"
    assert (done.stderr, done.stdout) == ("", expected)


def test_a_service_registers_itself_where_its_messages_are_all_imported(tmp_path: Path) -> None:
    """Reflection looks for the service in the pool: no message of its own would bring it there."""
    (tmp_path / "bell.proto").write_text(
        'syntax = "proto3"; package bell; import "google/protobuf/empty.proto";\n'
        "service Bell { rpc Ring(google.protobuf.Empty) returns (google.protobuf.Empty); }\n",
        encoding="utf-8",
    )
    generate([tmp_path / "bell.proto"], tmp_path, proto_paths=[tmp_path], package=False)
    program = (
        "import bell_gyr\n"
        "from google.protobuf import descriptor_pool\n"
        "print(descriptor_pool.Default().FindServiceByName('bell.Bell').file.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("bell.proto\n", "")
