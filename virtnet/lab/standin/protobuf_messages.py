"""Messages as protobuf's own runtime reads and writes them, from the fields of .proto files."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

BYTES, STRING, INT32, INT64, MESSAGE = (
    descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{name}")
    for name in ("BYTES", "STRING", "INT32", "INT64", "MESSAGE")
)

_POOL = descriptor_pool.DescriptorPool()


def define(package: str, messages: dict[str, list[tuple[str, int, Any, bool, str]]]) -> dict[str, Any]:
    """Message -> its fields: name, number, type, whether it is repeated, and of which message."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    label = descriptor_pb2.FieldDescriptorProto.Label
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated, of in fields:
            message.field.add(
                name=field, number=number, type=kind, type_name=f".{package}.{of}" if of else None,
                label=label.LABEL_REPEATED if repeated else label.LABEL_OPTIONAL,
            )  # fmt: skip
    _POOL.Add(file)
    return {
        name: message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{package}.{name}")) for name in messages
    }
