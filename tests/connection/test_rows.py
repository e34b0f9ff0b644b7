"""Each rule of a connection has tests in a file of its own, in the roles that it binds."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# The rule; the peers that its tests have: `client` is who a channel meets, `server` who a server.
ROWS = {
    "windows": {"client", "server"},
    "streams": {"client", "server"},
    "graceful_stop": {"server"},
    "goaway": {"client"},
    "age_and_idle": {"client", "server"},
    "client_keepalive": {"client"},
    "server_keepalive": {"server"},
    "handshake": {"client", "server"},
    "backoff": {"client"},
    "retry": {"client", "server"},
}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_tests_in_its_roles(row: str) -> None:
    tree = ast.parse((HERE / f"test_{row}.py").read_text(encoding="utf-8"))
    roles = set()
    for node in tree.body:
        if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for inner in ast.walk(node):
                if isinstance(inner, ast.AsyncWith):
                    roles |= {
                        item.context_expr.func.id
                        for item in inner.items
                        if isinstance(item.context_expr, ast.Call)
                        and isinstance(item.context_expr.func, ast.Name)
                    }
    assert roles & {"client", "server"} == ROWS[row]
