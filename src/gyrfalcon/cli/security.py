"""Options that say how a connection is secured, and the options of a channel that they make."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import gyrfalcon as gyr

_FILE = click.Path(path_type=Path)


def security_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of TLS and of tokens; the command gets what they make for a channel as
    `security`, a mapping."""
    options = (
        click.option(
            "--tls", is_flag=True, help="Call with TLS; any of the next options asks too."
        ),
        click.option("--plaintext", is_flag=True, help="Call without TLS, which is the default."),
        click.option(
            "--cacert",
            type=_FILE,
            metavar="FILE",
            help="Authorities whose servers are trusted, PEM. Default: the system's.",
        ),
        click.option(
            "--cert", type=_FILE, metavar="FILE", help="A certificate to show the server, PEM."
        ),
        click.option("--key", type=_FILE, metavar="FILE", help="The key of --cert, PEM."),
        click.option(
            "--server-name",
            metavar="HOST",
            help="What the server's certificate has to be good for, and the :authority. "
            "Default: the host of HOST:PORT.",
        ),
        click.option(
            "--insecure",
            is_flag=True,
            help="TLS without a look at the server's certificate: whoever is in between can read "
            "along.",
        ),
        click.option(
            "--token",
            "--bearer",
            metavar="TOKEN|@FILE",
            help="A bearer token to send with each call; @FILE reads it from a file. Not in "
            "plaintext, unless --plaintext asks for that.",
        ),
    )

    @functools.wraps(function)
    def command(
        *,
        tls: bool,
        plaintext: bool,
        cacert: Path | None,
        cert: Path | None,
        key: Path | None,
        server_name: str | None,
        insecure: bool,
        token: str | None,
        **others: Any,
    ) -> Any:
        files = {"--cacert": cacert, "--cert": cert, "--key": key, "--server-name": server_name}
        given = [name for name, value in files.items() if value is not None]
        if insecure:
            given.append("--insecure")
        if plaintext and (tls or given):
            raise click.UsageError(
                f"--plaintext and {(given or ['--tls'])[0]} exclude each other: give one of them"
            )
        security: dict[str, Any] = {}
        if tls or given:
            try:
                security["tls"] = gyr.ClientTLS(cacert, cert, key, server_name, verify=not insecure)
            except (OSError, ValueError) as error:
                raise click.UsageError(_explain(error)) from None
        if token is not None:
            if not security and not plaintext:
                raise click.UsageError(
                    "--token is not sent in plaintext: give --tls, or --plaintext to send it so"
                )
            security["credentials"] = _fixed(_read_token(token))
            security["allow_plaintext_credentials"] = plaintext
        return function(security=security, **others)

    for option in reversed(options):
        command = option(command)
    return command


def _explain(error: Exception) -> str:
    """The words of a ClientTLS with the options' names."""
    text = str(error)
    for argument, option in (("ca", "--cacert"), ("cert", "--cert"), ("key", "--key")):
        text = text.replace(f"ClientTLS({argument}=", f"({option} ")
    return text.replace("needs cert too", "needs --cert too").replace(
        "needs key too", "needs --key too"
    )


def _read_token(text: str) -> str:
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise click.UsageError(f"--token {text}: {error.strerror}") from None


def _fixed(token: str) -> gyr.CallCredentials:
    return lambda info: token
