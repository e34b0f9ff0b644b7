"""The descriptor pool of the messages in here, which stand in none other.

Programs bring their own copies of these definitions along: grpcio-health-checking, code generated
from googleapis, an older version. Two files that define one message cannot be in one pool; so the
default pool is left to them.
"""

from __future__ import annotations

from google.protobuf import any_pb2, duration_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
for _module in (any_pb2, duration_pb2, timestamp_pb2, wrappers_pb2):
    POOL.AddSerializedFile(_module.DESCRIPTOR.serialized_pb)


def Default() -> DescriptorPool:
    """What generated code calls: this pool in the place of the default one."""
    return POOL
