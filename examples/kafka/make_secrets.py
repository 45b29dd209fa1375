"""Make what a broker under TLS starts with: certificates, and the administrator's first password.

    python make_secrets.py --secrets DIR --place DIR --passwords DIR --ca FILE --host NAME [--host NAME ...]

Into the folder `--secrets`, which only the broker gets, as its `--place`: broker.pem (its key and
certificate), ca.pem, internal.properties (how its tools log in with that certificate), admin.scram (the
administrator's password as its tools take it). Into `--passwords`: admin.password. The file `--ca` is
for everybody.
The key of the certificate authority is not kept: another broker certificate means starting over.
"""

import argparse
import datetime
import os
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

YEARS = 5
# Super user of the broker, by `super.users` of docker-compose.kafka-secure.yml.
BROKER = "kafka"


def main() -> None:
    """Write the files; every folder must be there."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--secrets", type=Path, required=True)
    options.add_argument("--passwords", type=Path, required=True)
    options.add_argument("--ca", type=Path, required=True)
    options.add_argument("--host", action="append", required=True)
    options.add_argument("--place", required=True, help="where the broker has the first folder")
    given = options.parse_args()
    authority, broker = make_certificates(given.host)
    password = secrets.token_urlsafe(32)
    folder: Path = given.secrets
    write_private(folder / "broker.pem", broker)
    write_private(folder / "ca.pem", authority)
    write_private(folder / "internal.properties", tool_settings(given.place))
    write_private(folder / "admin.scram", f"SCRAM-SHA-512=iterations=8192,password={password}\n".encode())
    write_private(given.passwords / "admin.password", f"{password}\n".encode())
    # Last, as it tells that all is there.
    given.ca.write_bytes(authority)


def make_certificates(hosts: list[str]) -> tuple[bytes, bytes]:
    """Return the authority's certificate, and the broker's key with its certificate; PEM."""
    authority_key, broker_key = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    authority_name, broker_name = _name("PrivML broker authority"), _name(BROKER)
    names = [x509.DNSName(host) for host in hosts]
    authority = (
        _certificate(authority_name, authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, SHA256())
    )
    broker = (
        _certificate(broker_name, authority_name, broker_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority_key, SHA256())
    )
    key = broker_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return authority.public_bytes(Encoding.PEM), key + broker.public_bytes(Encoding.PEM)


def tool_settings(place: str) -> bytes:
    """Return what Kafka's tools need to log in with the broker's certificate."""
    lines = [
        "security.protocol=SSL",
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={place}/broker.pem",
        "ssl.truststore.type=PEM",
        f"ssl.truststore.location={place}/ca.pem",
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
    )


if __name__ == "__main__":
    main()
