"""Brings the peers that are not Python: grpc-go's and grpc-java's own interoperability programs.

What they are is pinned in `peers/go/go.mod` and `peers/java/pom.xml`; they go into `.tools/interop`
and are made again when those files change. A machine without Go, or without Java and Maven, does
without them and says so, as one that cannot fetch them.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.interop import flags

PEERS = Path(__file__).parents[1] / "peers"
TOOLS = flags.TEST_CA.parent
GO_BIN = TOOLS / "go"
JAVA_JARS = TOOLS / "java"
CERTIFICATES = ("ca.pem", "server1.pem", "server1.key")
# The first that fetches the Go that a go.mod asks for.
OLDEST_GO = (1, 21)
OLDEST_JAVA = 11


class Missing(Exception):
    """The machine cannot run a peer."""


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Missing(f"there is no `{name}` on this machine")
    return found


def output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def go_version() -> str:
    """Of the Go on the machine; Missing."""
    text = output(program("go"), "env", "GOVERSION").strip()
    found = re.match(r"go(\d+)\.(\d+)", text)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_GO:
        raise Missing(f"{text or 'Go'} is too old; {OLDEST_GO[0]}.{OLDEST_GO[1]} is the first")
    return text.removeprefix("go")


def java_version() -> str:
    """Of the JDK on the machine, if it has Maven too; Missing."""
    program("mvn")
    program("javac")
    text = output(program("java"), "-version")
    found = re.search(r'version "((\d+)[^"]*)"', text)
    if found is None or int(found[2]) < OLDEST_JAVA:
        raise Missing(f"Java {OLDEST_JAVA} is the first that will do, this is {text!r}")
    return found[1]


def pinned_go() -> str:
    """The version of grpc-go."""
    found = re.search(r"google\.golang\.org/grpc v(\S+)", (PEERS / "go/go.mod").read_text("utf-8"))
    assert found is not None
    return found[1]


def pinned_java() -> str:
    """The version of grpc-java."""
    text = (PEERS / "java/pom.xml").read_text("utf-8")
    found = re.search(r"grpc-interop-testing</artifactId>\s*<version>([^<]+)<", text)
    assert found is not None
    return found[1]


def install_go() -> None:
    go = program("go")
    subprocess.run(
        [go, "install", "tool"],
        cwd=PEERS / "go",
        env={**os.environ, "GOBIN": str(GO_BIN), "GOWORK": "off"},
        check=True,
    )


def install_java() -> None:
    mvn = program("mvn")
    shutil.rmtree(JAVA_JARS, ignore_errors=True)
    command = [mvn, "--quiet", "--batch-mode", "--file", str(PEERS / "java/pom.xml")]
    command += ["dependency:copy-dependencies", "-DincludeScope=runtime"]
    subprocess.run([*command, f"-DoutputDirectory={JAVA_JARS}"], check=True)
    java_classes = [program("javac"), "-d", str(JAVA_JARS), "-cp", f"{JAVA_JARS}/*"]
    subprocess.run([*java_classes, str(PEERS / "java/Cases.java")], check=True)
    (holder,) = JAVA_JARS.glob("grpc-testing-*.jar")
    flags.TEST_CA.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(holder) as jar:
        for name in CERTIFICATES:
            (flags.TEST_CA / name).write_bytes(jar.read(f"certs/{name}"))


def install(name: str, folder: Path, make: Callable[[], None]) -> None:
    """Unless it was made from the same files before."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.read_bytes())
    stamp = TOOLS / f"{name}.stamp"
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    print(f"installing the peers of {name} into {TOOLS}", flush=True)
    TOOLS.mkdir(parents=True, exist_ok=True)
    make()
    stamp.write_text(digest.hexdigest())


def prepare_go() -> str:
    """Install it if need be; its version. Missing."""
    version = go_version()
    install("go", PEERS / "go", install_go)
    return f"grpc-go {pinned_go()}, Go {version}"


def prepare_java() -> str:
    """Install it if need be; its version. Missing."""
    version = java_version()
    install("java", PEERS / "java", install_java)
    return f"grpc-java {pinned_java()} (Netty), Java {version}"
