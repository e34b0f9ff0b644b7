"""The messages of the services stay out of everybody's way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

OWN = """
import gyrfalcon as gyr
gyr.services.Health, gyr.services.Reflection, gyr.services.Channelz, gyr.services.Orca
"""
STOCK = """
import grpc_channelz.v1.channelz_pb2, grpc_health.v1.health_pb2
import grpc_reflection.v1alpha.reflection_pb2
"""
# What a program has that generates code from its own copy of the file.
COPY = """
from google.protobuf import descriptor_pb2, descriptor_pool
file = descriptor_pb2.FileDescriptorProto(name="health.proto", package="grpc.health.v1")
file.message_type.add(name="HealthCheckRequest")
descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
"""
LAZY = """
import sys
import gyrfalcon as gyr
assert "gyrfalcon.services" not in sys.modules
gyr.services.Health
loaded = {name.rpartition(".")[2] for name in sys.modules if name.startswith("gyrfalcon.services.")}
assert "health_pb2" in loaded
assert not loaded & {"reflection", "reflection_pb2", "channelz", "channelz_pb2"}
"""


@pytest.mark.parametrize(
    "program",
    [OWN + STOCK, STOCK + OWN, OWN + COPY, COPY + OWN, LAZY],
    ids=["own-stock", "stock-own", "own-copy", "copy-own", "lazy"],
)
def test_one_process_may_have_other_copies_of_the_definitions(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_message_modules_ask_for_no_version_of_protobuf() -> None:
    """protoc's check would refuse every runtime older than the protoc that made them."""
    import gyrfalcon.services

    modules = sorted(Path(gyrfalcon.services.__path__[0]).rglob("*_pb2.py"))
    checked = [module.name for module in modules if "runtime_version" in module.read_text("utf-8")]
    assert (len(modules), checked) == (6, [])
