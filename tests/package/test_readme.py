"""The README: its first service runs as it is printed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.call.service import free_port

ROOT = Path(__file__).parents[2]
PRINTED_PORT = "50051"


def blocks() -> dict[str, str]:
    """The code blocks of "A first service" by the file's name before them, or by their language."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## A first service")[2].partition("\n## ")[0]
    found = {}
    for intro, language, code in re.findall(r"([^\n]*)\n\n```(\w+)\n(.*?)```", section, re.DOTALL):
        named = re.search(r"`(\w+\.\w+)`:$", intro)
        found[named[1] if named and language != "text" and language != "sh" else language] = code
    return found


def test_the_first_service_runs_as_printed(tmp_path: Path) -> None:
    code = blocks()
    assert set(code) == {"greeter.proto", "sh", "server.py", "client.py", "text"}
    with free_port() as port:
        try_the_service(code, tmp_path, str(port))


def try_the_service(code: dict[str, str], tmp_path: Path, port: str) -> None:
    for name in ("greeter.proto", "server.py", "client.py"):
        text = code[name].replace(PRINTED_PORT, port)
        (tmp_path / name).write_text(text, encoding="utf-8")
    commands = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(
        ["sh", "-euc", code["sh"]], cwd=tmp_path, env={**os.environ, "PATH": commands}, check=True
    )
    with subprocess.Popen([sys.executable, "server.py"], cwd=tmp_path) as server:
        try:
            client = subprocess.run(
                [sys.executable, "client.py"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            server.send_signal(signal.SIGTERM)
    assert (client.stdout, client.stderr) == (code["text"], "")
    assert server.returncode == 0
