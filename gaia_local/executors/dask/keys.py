"""Keys for a Dask cluster of this machine: without them no process can connect and run code."""

from __future__ import annotations

import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_VALID = datetime.timedelta(days=3650)
"""Longer than any engine lives."""

_ROLES = ("client", "scheduler", "worker")


def make_keys() -> dict[str, Any]:
    """Arguments for `distributed.Security`: a new certificate, its authority and key, in memory.

    NOTE: `distributed.Security.temporary` makes an RSA key, which takes up to half a second.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gaia-local")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks are set back
        .not_valid_after(now + _VALID)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    cert = certificate.public_bytes(pem).decode()
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    roles = {
        f"tls_{role}_{kind}": text
        for role in _ROLES
        for kind, text in (("cert", cert), ("key", private))
    }
    return {"tls_ca_file": cert, "require_encryption": True, **roles}
