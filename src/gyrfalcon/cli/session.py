"""A channel and the schema of what is behind it, for as long as a command needs them."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf import any_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

import gyrfalcon as gyr

from .failures import CallFailed, Failure
from .options import Connecting, Definition
from .reflection import NoReflectionError, Reflection
from .schema import Schema, load_protos


@asynccontextmanager
async def opened(
    target: str, connecting: Connecting, definition: Definition
) -> AsyncIterator[tuple[gyr.Channel, Schema]]:
    """A channel, and the schema from .proto files or the server's reflection.

    A gyr.RpcError inside becomes CallFailed.
    """
    async with connecting.channel(target) as channel:
        if definition:
            schema = load_protos(definition.protos, definition.proto_paths)
        else:
            schema = Schema(reflection=Reflection(channel, connecting))
        async with failing(target, schema):
            yield channel, schema


@asynccontextmanager
async def known(
    target: str | None, connecting: Connecting, definition: Definition
) -> AsyncIterator[Schema]:
    """The schema alone: with .proto files no server is needed."""
    if target is None:
        yield load_protos(definition.protos, definition.proto_paths)
        return
    async with opened(target, connecting, definition) as (_, schema):
        yield schema


@asynccontextmanager
async def failing(target: str, schema: Schema | None = None) -> AsyncIterator[None]:
    """Turns a gyr.RpcError inside into CallFailed, its details into JSON."""
    try:
        yield
    except NoReflectionError as error:
        raise CallFailed(gyr.Unimplemented(str(error)), target) from None
    except gyr.RpcError as error:
        raise CallFailed(error, target, await _details(error, schema)) from None


async def _details(error: gyr.RpcError, schema: Schema | None) -> list[str]:
    return [json.dumps(await _detail(one, schema), ensure_ascii=False) for one in error.details]


async def _detail(detail: Message, schema: Schema | None) -> dict[str, Any]:
    pool = None
    name = detail.DESCRIPTOR.full_name
    url = f"type.googleapis.com/{name}"
    if isinstance(detail, any_pb2.Any):
        # Not known to this program; perhaps to the schema.
        url, data = detail.type_url, detail.value
        unknown = {"@type": url, "@value": base64.b64encode(data).decode()}
        name = url.rpartition("/")[2]
        try:
            if schema is None or not await schema.know(name):
                return unknown
            pool = schema.pool
            detail = GetMessageClass(pool.FindMessageTypeByName(name)).FromString(data)
        except (gyr.RpcError, NoReflectionError, Failure, KeyError, DecodeError):
            return unknown
    try:
        written: Any = MessageToDict(detail, descriptor_pool=pool)
    except (TypeError, ValueError, DecodeError):
        data = detail.SerializeToString()
        return {"@type": url, "@value": base64.b64encode(data).decode()}
    if not isinstance(written, dict):
        written = {"value": written}
    return {"@type": url, **written}
