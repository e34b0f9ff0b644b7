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


def blocks(heading: str) -> dict[str, str]:
    """The code blocks of a section by the file's name before them, or by their language."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = {}
    for intro, language, code in re.findall(r"([^\n]*)\n\n```(\w+)\n(.*?)```", section, re.DOTALL):
        named = re.search(r"`(\w+\.\w+)`:$", intro)
        found[named[1] if named and language != "text" and language != "sh" else language] = code
    return found


def test_the_first_service_runs_as_printed(tmp_path: Path) -> None:
    code = blocks("A first service")
    assert set(code) == {"greeter.proto", "sh", "server.py", "client.py", "text"}
    threads = blocks("From threads")
    assert set(threads) == {"threads.py", "text"}
    with free_port() as port:
        try_the_service(code, threads, tmp_path, str(port))


def try_the_service(
    code: dict[str, str], threads: dict[str, str], tmp_path: Path, port: str
) -> None:
    files = {**code, **threads}
    for name in ("greeter.proto", "server.py", "client.py", "threads.py"):
        text = files[name].replace(PRINTED_PORT, port)
        (tmp_path / name).write_text(text, encoding="utf-8")
    commands = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(
        ["sh", "-euc", code["sh"]], cwd=tmp_path, env={**os.environ, "PATH": commands}, check=True
    )
    with subprocess.Popen([sys.executable, "server.py"], cwd=tmp_path) as server:
        try:
            # In this order: the first waits until the server is there.
            client, from_threads = (
                subprocess.run(
                    [sys.executable, program],
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                for program in ("client.py", "threads.py")
            )
        finally:
            server.send_signal(signal.SIGTERM)
    assert (client.stdout, client.stderr) == (code["text"], "")
    assert (from_threads.stdout, from_threads.stderr) == (threads["text"], "")
    assert server.returncode == 0
