"""The package's types, as mypy and Pyright find them through py.typed where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
PROGRAMS = ["calls.py", "services.py", "threads.py", "words.py"]


def test_mypy_strict_agrees_with_every_line() -> None:
    command = [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--show-error-codes"]
    # retail and its generated code come from the project, gyrfalcon from where it is installed.
    paths = [str(ROOT), *filter(None, [os.environ.get("MYPYPATH")])]
    ran = subprocess.run(
        [*command, "--explicit-package-bases", *(f"tests/types/{name}" for name in PROGRAMS)],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == f"Success: no issues found in {len(PROGRAMS)} source files\n"
    assert (ran.stderr, ran.returncode) == ("", 0)


def test_pyright_strict_agrees_with_every_line(tmp_path: Path) -> None:
    for name in PROGRAMS:
        shutil.copy(FOLDER / name, tmp_path)
    settings = {
        "include": PROGRAMS,
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "strict",
        "reportMissingModuleSource": False,
        # What a mistaken line is worth is not used either.
        "reportUnusedExpression": False,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pyright", "--outputjson", "--project", str(tmp_path)),
            *("--pythonpath", sys.executable),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(ran.stdout)
    found = [
        f"{Path(each['file']).name}:{each['range']['start']['line'] + 1} {each['message']}"
        for each in report["generalDiagnostics"]
    ]
    assert found == []
    assert report["summary"]["filesAnalyzed"] == len(PROGRAMS)
