"""The flags of the test programs, as gRPC's descriptions name them."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from tests.interop.cases.soak import SoakOptions

ROOT = Path(__file__).parents[2]
TEST_CA = ROOT / ".tools" / "interop" / "test_ca"
"""Where `make interop` puts the certificates that all of gRPC's test programs know."""

SOAK = {field.name: field.default for field in fields(SoakOptions)}


def boolean(text: str) -> bool:
    """`--flag`, `--flag=true` and `--flag=false`, as the peers take them."""
    values = {"true": True, "1": True, "false": False, "0": False}
    try:
        return values[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false") from None


def add_boolean(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    parser.add_argument(name, type=boolean, nargs="?", const=True, default=False, help=text)


def client_parser(text: str | None, faces: tuple[str, ...]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server_host", default="127.0.0.1")
    parser.add_argument("--server_port", type=int, default=8080)
    parser.add_argument("--server_host_override", help="the name that the certificate must have")
    parser.add_argument(
        "--test_case", default="large_unary", help="one or several, with commas between them; all"
    )
    add_boolean(parser, "--use_tls", "encrypt")
    add_boolean(parser, "--use_test_ca", "trust --ca_file alone, not the system's authorities")
    parser.add_argument("--ca_file", type=Path, default=TEST_CA / "ca.pem")
    parser.add_argument("--face", choices=faces, default=faces[0])
    add_boolean(parser, "--json", "a line of JSON for each case")
    for name, default in SOAK.items():
        parser.add_argument(f"--soak_{name}", type=int, default=default)
    return parser


def soak_options(arguments: argparse.Namespace) -> SoakOptions:
    return SoakOptions(**{name: getattr(arguments, f"soak_{name}") for name in SOAK})


def server_parser(text: str | None, faces: tuple[str, ...]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: all of the machine's")
    parser.add_argument("--port", type=int, default=8080, help="0: any that is free")
    add_boolean(parser, "--use_tls", "encrypt")
    parser.add_argument("--tls_cert_file", type=Path, default=TEST_CA / "server1.pem")
    parser.add_argument("--tls_key_file", type=Path, default=TEST_CA / "server1.key")
    parser.add_argument("--face", choices=faces, default=faces[0])
    return parser


def announce(port: int) -> None:
    print(f"listening on {port}", flush=True)


def existing(path: Path, flag: str) -> Path:
    if not path.is_file():
        raise SystemExit(
            f"there is no {path}: name a file with {flag}, or have `make interop` fetch the "
            "certificates of gRPC's test programs"
        )
    return path


def server_certificate(arguments: argparse.Namespace) -> tuple[Path, Path]:
    return (
        existing(arguments.tls_cert_file, "--tls_cert_file"),
        existing(arguments.tls_key_file, "--tls_key_file"),
    )


def trusted(arguments: argparse.Namespace) -> Path | None:
    """The authority to trust; None: those of the system."""
    return existing(arguments.ca_file, "--ca_file") if arguments.use_test_ca else None
