"""Files that are nearly right: random changes of bytes, of the members and the JSON of an archive, of protobuf fields,
and of the text of a graph."""

from __future__ import annotations

import io
import json
import random
import struct
import warnings
import zipfile
from typing import Any

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]  # protobuf has no types

from tests.ir.coding.test_kiln import with_check_sum
from tests.ir.test_text import mutated

_NUMBERS = (0, -1, 1, 2, 3, 7, 1000, 65536, 2**31 - 1, 2**31, 2**40, 2**63 - 1, -(2**63))
_FLOATS = (0.0, -1.0, 0.5, 1e-38, 3e38, float("nan"), float("inf"), -float("inf"))
_JSON: tuple[object, ...] = (
    0,
    -1,
    3,
    2**40,
    2**70,
    1.5,
    1e400,
    "x",
    "",
    None,
    True,
    [],
    {},
    [1, 2],
    [[]],
    {"as_int": 5},
)


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """One to four runs of bytes changed, removed, repeated or cut off."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data)) if data else 0
        match rng.randrange(6):
            case 0:
                del data[at:]
            case 1 | 2:
                data[at : at + 1] = bytes([(data[at] if data else 0) ^ 1 << rng.randrange(8)])
            case 3:
                data[at : at + rng.randint(0, 8)] = rng.randbytes(rng.randint(0, 8))
            case 4:
                data[at:at] = data[at : at + rng.randint(1, 200)]
            case _:
                data[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f"))
    return bytes(data)


def mutated_archive(content: bytes, rng: random.Random) -> bytes:
    """A zip archive with one member changed, left out, stored twice, renamed or compressed; mostly one with JSON."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        members = [(info.filename, old.read(info)) for info in old.infolist()]
    documents = [i for i, (name, _) in enumerate(members) if name.endswith(".json")]
    programs = [i for i in documents if "models/" in members[i][0]]
    at = rng.choice(rng.choices((programs, documents, list(range(len(members)))), (5, 2, 2))[0])
    name, data = members[at]
    compression = zipfile.ZIP_STORED
    match rng.randrange(20):
        case 0:
            del members[at]
        case 1:
            members.append((name, mutated_bytes(data, rng) if data else b"x"))
        case 2:
            members[at] = (rng.choice(members)[0] if rng.random() < 0.5 else f"{name}x", data)
        case 3:
            members[at] = (name, data[: rng.randrange(len(data) + 1)])
        case 4:
            compression = zipfile.ZIP_DEFLATED
        case _:
            members[at] = (name, mutated_json(data, rng) if name.endswith(".json") else mutated_bytes(data, rng))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members of one name are meant
        for name, data in members:
            new.writestr(zipfile.ZipInfo(name), data, compression)
    return target.getvalue()


def mutated_json(content: bytes, rng: random.Random) -> bytes:
    """The document with one to three values replaced, removed, doubled or exchanged, at any depth."""
    document = json.loads(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change_json(document, rng)
    return json.dumps(document).encode()


def _change_json(place: Any, rng: random.Random) -> None:
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = rng.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.92:
            place = place[key]
            continue
        other = rng.choice(keys)
        match rng.randrange(6):
            case 0:
                del place[key]
            case 1 if isinstance(place, list):
                place.insert(key, place[other])
            case 2:
                place[key], place[other] = place[other], place[key]
            case 3 if isinstance(place[key], int):
                place[key] += rng.choice((-1, 1))
            case _:
                place[key] = rng.choice(_JSON)
        return


def mutated_onnx(content: bytes, rng: random.Random) -> bytes:
    """A model with one to three fields of its messages changed, removed, doubled or exchanged."""
    proto = onnx.ModelProto()
    proto.ParseFromString(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places: list[tuple[Any, Any]] = []
        _fields(proto, places)
        names = [name for node in proto.graph.node for name in (*node.input, *node.output, node.op_type)]
        message, field = rng.choice(places)
        try:
            _change_field(message, field, rng, names)
        except (ValueError, TypeError):
            continue  # protobuf itself refuses the value
    result: bytes = proto.SerializeToString()
    return result


def _fields(message: Any, found: list[tuple[Any, Any]]) -> None:
    for field, value in message.ListFields():
        found.append((message, field))
        if field.type != field.TYPE_MESSAGE:
            continue
        for part in [value] if isinstance(value, Message) else value:
            _fields(part, found)


def _change_field(message: Any, field: Any, rng: random.Random, names: list[str]) -> None:
    value = getattr(message, field.name)
    is_repeated = not isinstance(value, Message | int | float | str | bytes)
    if rng.random() < 0.1:
        message.ClearField(field.name)
    elif field.type == field.TYPE_MESSAGE:
        _change_messages(value, rng) if is_repeated else value.Clear()
    elif is_repeated:
        items = list(value)
        at = rng.randrange(len(items))
        match rng.randrange(4):
            case 0:
                del items[at]
            case 1:
                items.insert(at, items[rng.randrange(len(items))])
            case _:
                items[at] = _other(items[at], rng, names)
        del value[:]
        value.extend(items)
    else:
        setattr(message, field.name, _other(value, rng, names))


def _change_messages(messages: Any, rng: random.Random) -> None:
    at, other = rng.randrange(len(messages)), rng.randrange(len(messages))
    match rng.randrange(3):
        case 0:
            del messages[at]
        case 1:
            messages.add().CopyFrom(messages[at])
        case _:
            saved = type(messages[at])()
            saved.CopyFrom(messages[at])
            messages[at].CopyFrom(messages[other])
            messages[other].CopyFrom(saved)


def _other(value: Any, rng: random.Random, names: list[str]) -> object:
    match value:
        case int():
            return rng.choice((*_NUMBERS, value + 1, value - 1, -value))
        case float():
            return rng.choice((*_FLOATS, -value, value * 2))
        case str():
            return rng.choice((*names, "", "x", "ai.onnx.ml", value + "x", "\0", "é" * 50))
        case _:
            return mutated_bytes(value, rng)


def mutated_graph_file(content: bytes, rng: random.Random) -> bytes:
    """A safetensors file with the JSON of its header, or its bytes, changed; the length before it stays right."""
    (length,) = struct.unpack("<Q", content[:8])
    if rng.random() < 0.3:
        return mutated_bytes(content, rng)
    header = json.loads(content[8 : 8 + length])
    if rng.random() < 0.7:
        header["__metadata__"]["bitkiln"] = mutated(header["__metadata__"]["bitkiln"], rng)
    else:
        _change_json(header, rng)
    changed = json.dumps(header).encode()
    return struct.pack("<Q", len(changed)) + changed + content[8 + length :]


def mutated_container(content: bytes, rng: random.Random) -> bytes:
    """A container with changed bytes and the check sum that they have."""
    return with_check_sum(mutated_bytes(content[:-4], rng))
