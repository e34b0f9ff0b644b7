"""Fuzzes each target in turn and says what came of it.

    python -m fuzz [--seconds 60] [--target server ...] [--minimise]

Builds the instrumented package first. A finding is kept in build/fuzz/crashes, and the report on
each target in build/reports/fuzz.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fuzz import corpus
from fuzz.build import BASE, ROOT, build, find_clang
from fuzz.targets import DICTIONARIES, load

REPORTS = ROOT / "build" / "reports" / "fuzz"
CRASHES = BASE / "crashes"
LONGEST_INPUT = 4096
# One input may take so long under the sanitisers; none takes a hundredth of it.
INPUT_SECONDS = 20
MOST_MEMORY_MB = 3000
MODULES = re.compile(r"INFO: Loaded \d+ modules\s+\((\d+) inline 8-bit counters\)")
STATUS = re.compile(
    r"#(\d+)\s+(\w+)\s+cov: (\d+) ft: (\d+) corp: (\d+)/(\S+).*exec/s: (\d+) rss: (\d+)Mb"
)


def sanitised_environment(package: Path) -> dict[str, str]:
    """For a process that loads the instrumented modules."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(package), str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "LD_PRELOAD": str(Path(import_module("atheris").path()) / "asan_with_fuzzer.so"),
        # Each object is a block of malloc's: AddressSanitizer does not see into arenas.
        "PYTHONMALLOC": "malloc",
        "PYTHONHASHSEED": "0",
        # CPython frees not all that it holds when it ends; tests/core/test_leaks.py counts instead.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:detect_odr_violation=0"
        ":malloc_context_size=6:quarantine_size_mb=32",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


class Run:
    """One target's engine, and what it says."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        self.name = name
        self.environment = environment
        self.folder = BASE / "corpus" / name
        self.log = BASE / f"{name}.log"
        self.edges = 0
        self.last: tuple[str, ...] = ()
        self.status = 0
        self.wall = 0.0

    def prepare(self) -> int:
        """The folder that the engine works on; how many inputs it begins with."""
        corpus.unpack(corpus.kept(self.name), self.folder)
        corpus.unpack(corpus.findings(self.name), self.folder)
        corpus.unpack(load(self.name).seeds(), self.folder)
        CRASHES.mkdir(parents=True, exist_ok=True)
        return len(list(self.folder.iterdir()))

    def engine(self, *arguments: object) -> Iterator[str]:
        """Run it; its lines, as they come."""
        command = [sys.executable, "-m", "fuzz.engine", self.name, *map(str, arguments)]
        with (
            self.log.open("w") as log,
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="backslashreplace",
            ) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                yield line
        self.status = process.returncode

    def fuzz(self, seconds: int) -> dict[str, Any]:
        began_with = self.prepare()
        before = self.crashes()
        dictionary = DICTIONARIES[self.name]
        options = [f"-dict={ROOT}/fuzz/dictionaries/{dictionary}.dict"] if dictionary else []
        began = time.monotonic()
        for line in self.engine(
            f"-max_total_time={seconds}", f"-max_len={LONGEST_INPUT}", f"-timeout={INPUT_SECONDS}",
            f"-rss_limit_mb={MOST_MEMORY_MB}", f"-artifact_prefix={CRASHES}/{self.name}-",
            "-print_final_stats=1", *options, self.folder,
        ):  # fmt: skip
            self.read(line)
        self.wall = time.monotonic() - began
        found = sorted(path.name for path in self.crashes() - before)
        return self.report(began_with, found)

    def crashes(self) -> set[Path]:
        """What this target has left there; others may run at the same time."""
        return set(CRASHES.glob(f"{self.name}-*"))

    def read(self, line: str) -> None:
        modules, status = MODULES.search(line), STATUS.search(line)
        if modules:
            self.edges = int(modules[1])
        if status:
            self.last = status.groups()

    def report(self, began_with: int, found: list[str]) -> dict[str, Any]:
        executions, _, edges, features, inputs, _, rate, memory = self.last or ("0",) * 8
        broken = not found and (self.status != 0 or int(executions) == 0)
        return {
            "seconds": round(self.wall, 1),
            "executions": int(executions),
            "executions_per_second": int(rate),
            "edges_covered": int(edges),
            "edges_native": self.edges,
            "features": int(features),
            "corpus_inputs": int(inputs),
            "corpus_inputs_before": began_with,
            "memory_mb": int(memory),
            "findings": found,
            "verdict": "did not run" if broken else "finding" if found else "no finding",
        }

    def minimise(self) -> tuple[int, int]:
        """Keep the smallest inputs that cover all that is covered; (inputs, bytes)."""
        self.prepare()
        merged = BASE / "merged" / self.name
        merged.mkdir(parents=True, exist_ok=True)
        for old in merged.iterdir():
            old.unlink()
        for _ in self.engine("-merge=1", f"-max_len={LONGEST_INPUT}", merged, self.folder):
            pass
        if self.status:
            sys.exit(f"{self.name}: the corpus could not be minimised: see {self.log}")
        inputs = corpus.cut(corpus.files(merged))
        path = corpus.FOLDER / f"{self.name}.txt"
        corpus.write(path, inputs)
        return len(inputs), path.stat().st_size


def versions() -> dict[str, str]:
    clang = subprocess.run([find_clang(), "--version"], capture_output=True, text=True, check=True)
    return {
        "python": platform.python_version(),
        "engine": f"atheris {version('atheris')} (libFuzzer)",
        "compiler": clang.stdout.splitlines()[0],
        "sanitizers": "address, undefined",
        "cython": version("cython"),
    }


def show(name: str, report: dict[str, Any]) -> None:
    print(
        f"{name:9} {report['executions']:>11,} executions in {report['seconds']:.0f} s"
        f" ({report['executions_per_second']:,}/s), {report['edges_covered']:,} edges covered"
        f" ({report['edges_native']:,} native ones), corpus {report['corpus_inputs']:,} inputs:"
        f" {report['verdict']}",
        flush=True,
    )
    for found in report["findings"]:
        print(f"          {CRASHES / found}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument(
        "--target", nargs="*", choices=list(DICTIONARIES), help="of all", default=[]
    )
    parser.add_argument("--minimise", action="store_true", help="only write fuzz/corpus anew")
    options = parser.parse_args()
    environment = sanitised_environment(build())
    names = options.target or list(DICTIONARIES)
    if options.minimise:
        for name in names:
            inputs, size = Run(name, environment).minimise()
            print(f"{name}: {inputs} inputs, {size:,} bytes", flush=True)
        return 0
    REPORTS.mkdir(parents=True, exist_ok=True)
    clean = True
    for name in names:
        began = datetime.now(UTC).isoformat(timespec="seconds")
        report = Run(name, environment).fuzz(options.seconds)
        show(name, report)
        clean &= report["verdict"] == "no finding"
        # A file each: targets may be fuzzed side by side.
        whole = {"target": name, "began": began, "versions": versions(), **report}
        (REPORTS / f"{name}.json").write_text(json.dumps(whole, indent=2) + "\n")
    print(f"{'no finding' if clean else 'see the targets'}; {REPORTS.relative_to(ROOT)}")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
