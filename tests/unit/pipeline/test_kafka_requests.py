"""The requests that aiokafka lacks, byte for byte; the broker's tests send them to a real one."""

from io import BytesIO

from pipeline.kafka_requests import (
    AlterCredentials,
    Credential,
    DescribeCredentials,
    DescribeLogDirs,
    Mechanism,
)


def test_credentials_are_encoded_as_the_protocol_guide_says() -> None:
    credential = Credential("ab", Mechanism.SCRAM_SHA_512, 4096, b"salt", b"salted")
    request = AlterCredentials([credential]).prepare({51: (0, 0)})
    assert request.encode() == (
        b"\x01"  # no deletions
        b"\x02"  # one upsertion
        b"\x03ab"
        b"\x02"  # SHA-512
        b"\x00\x00\x10\x00"
        b"\x05salt"
        b"\x07salted"
        b"\x00\x00"  # no tags, inside and outside
    )


def test_a_credential_does_not_print_what_it_keeps() -> None:
    assert "salt" not in repr(Credential("ab", Mechanism.SCRAM_SHA_512, 4096, b"salt", b"salted"))


def test_an_answer_about_users_is_decoded() -> None:
    request = DescribeCredentials().prepare({50: (0, 0)})
    assert request.encode() == b"\x01\x00"
    answer = request.RESPONSE_TYPE.decode(
        BytesIO(
            b"\x00\x00\x00\x00" b"\x00\x00" b"\x00"  # not throttled, no error, no message
            b"\x02\x03ab" b"\x00\x00" b"\x00"  # one user, no error, no message
            b"\x02\x02\x00\x00\x10\x00\x00"  # one credential
            b"\x00\x00"
        )
    )  # fmt: skip
    assert [(user, code) for user, code, *_ in answer.results] == [("ab", 0)]


def test_sizes_are_asked_for_every_partition() -> None:
    request = DescribeLogDirs({"t": 2}).prepare({35: (1, 4)})
    assert request.encode() == (
        b"\x00\x00\x00\x01" b"\x00\x01t" b"\x00\x00\x00\x02" b"\x00\x00\x00\x00" b"\x00\x00\x00\x01"
    )  # fmt: skip
