"""Kafka requests that aiokafka does not have: users' passwords and topics' sizes.

Field for field as in Kafka's protocol guide; the versions are ones that every broker from 4.0 on takes.
"""

# mypy: disallow-subclassing-any=False
# aiokafka ships no types.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)


class Mechanism(IntEnum):
    """How a password is proved; the value is Kafka's number for it."""

    SCRAM_SHA_256 = 1
    SCRAM_SHA_512 = 2


@dataclass(frozen=True, slots=True)
class Credential:
    """What a broker keeps of a user's password.

    Attributes:
        user: Login name.
        mechanism: Of the two that Kafka knows.
        iterations: Of PBKDF2; Kafka takes 4096 to 16384.
        salt: Random bytes.
        salted_password: PBKDF2 of the password.
    """

    user: str
    mechanism: Mechanism
    iterations: int
    salt: bytes = field(repr=False)
    salted_password: bytes = field(repr=False)


_NAME = CompactString("utf-8")


class _AlterCredentialsResponse(Response):
    API_KEY = 51
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", _NAME),
                ("error_code", Int16),
                ("error_message", _NAME),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterCredentialsStruct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 51
    API_VERSION = 0
    RESPONSE_TYPE = _AlterCredentialsResponse
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", _NAME), ("mechanism", Int8), ("tags", TaggedFields))),
        (
            "upsertions",
            CompactArray(
                ("name", _NAME),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class AlterCredentials(Request[_AlterCredentialsStruct]):
    """Give users new passwords; they are made if they are not there."""

    API_KEY = 51

    def __init__(self, credentials: Sequence[Credential]) -> None:
        self._credentials = credentials

    def build(self, request_struct_class: type[_AlterCredentialsStruct]) -> _AlterCredentialsStruct:
        """Return the request in the version that the broker takes."""
        return request_struct_class(
            [],
            [
                (one.user, one.mechanism, one.iterations, one.salt, one.salted_password, {})
                for one in self._credentials
            ],
            {},
        )


class _DescribeCredentialsResponse(Response):
    API_KEY = 50
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", _NAME),
        (
            "results",
            CompactArray(
                ("user", _NAME),
                ("error_code", Int16),
                ("error_message", _NAME),
                (
                    "credentials",
                    CompactArray(("mechanism", Int8), ("iterations", Int32), ("tags", TaggedFields)),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _DescribeCredentialsStruct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 50
    API_VERSION = 0
    RESPONSE_TYPE = _DescribeCredentialsResponse
    SCHEMA = Schema(("users", CompactArray(("name", _NAME), ("tags", TaggedFields))), ("tags", TaggedFields))


class DescribeCredentials(Request[_DescribeCredentialsStruct]):
    """Ask which users have a password."""

    API_KEY = 50

    def build(self, request_struct_class: type[_DescribeCredentialsStruct]) -> _DescribeCredentialsStruct:
        """Return the request in the version that the broker takes."""
        return request_struct_class([], {})


class _DescribeLogDirsResponse(Response):
    API_KEY = 35
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            Array(
                ("error_code", Int16),
                ("log_dir", String("utf-8")),
                (
                    "topics",
                    Array(
                        ("name", String("utf-8")),
                        (
                            "partitions",
                            Array(
                                ("partition_index", Int32),
                                ("partition_size", Int64),
                                ("offset_lag", Int64),
                                ("is_future_key", Boolean),
                            ),
                        ),
                    ),
                ),
            ),
        ),
    )


class _DescribeLogDirsStruct(RequestStruct):
    API_KEY = 35
    API_VERSION = 1
    RESPONSE_TYPE = _DescribeLogDirsResponse
    SCHEMA = Schema(("topics", Array(("topic", String("utf-8")), ("partitions", Array(Int32)))))


class DescribeLogDirs(Request[_DescribeLogDirsStruct]):
    """Ask one broker how much room partitions take on its disks."""

    API_KEY = 35

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self._partitions = partitions

    def build(self, request_struct_class: type[_DescribeLogDirsStruct]) -> _DescribeLogDirsStruct:
        """Return the request in the version that the broker takes."""
        return request_struct_class(
            [(topic, list(range(count))) for topic, count in self._partitions.items()]
        )
