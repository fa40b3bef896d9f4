"""`openomni up --tls`: a certificate of this server's own, and its address as a QR code for a phone.

Browsers give the microphone to pages of this machine and of HTTPS alone. Nobody vouches for a certificate that is made
here, so each browser asks once whether to trust it. One that an authority signed belongs to `openomni gateway`
(`--tls-cert`), or to a proxy in front.
"""

from __future__ import annotations

import datetime
import io
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import OpenOmniError

DAYS = 397
"""How long it holds; phones refuse longer ones."""
RENEW_DAYS = 30
"""A certificate that has less left is made anew at a start."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """`trusted`: what the system trusts and this one, for the parts of the server that come in by it."""

    cert: Path
    key: Path
    trusted: Path
    fingerprint: str
    """SHA-256, as browsers show it."""


def own(folder: Path, hosts: Iterable[str]) -> Certificate:
    """The one in `folder`, made where there is none for all these names and addresses, or it ends soon."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    wanted = set(hosts)
    if not _still_good(cert, key, wanted):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _make(cert, key, wanted)
        except OSError as error:
            raise OpenOmniError(f"can't write {error.filename or folder} ({error.strerror}); make room there") from None
    return _certificate(cert, key, folder)


def addresses() -> list[str]:
    """Of this machine, those that other machines reach first; without loopback and link-local ones."""
    import psutil

    found = [each.address.partition("%")[0] for nics in psutil.net_if_addrs().values() for each in nics
             if each.family in (socket.AF_INET, socket.AF_INET6)]  # fmt: skip
    usable = [each for each in map(ipaddress.ip_address, found) if not (each.is_loopback or each.is_link_local)]
    first = _on_the_way_out()
    return [str(each) for each in sorted(usable, key=lambda each: (str(each) != first, each.version, str(each)))]


def _on_the_way_out() -> str:
    """The address that a packet to elsewhere would bear; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def qr_code(text: str) -> str:
    """For a terminal, whatever its colours."""
    import segno

    out = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(out, border=2, compact=True)
    return out.getvalue()


def _still_good(cert: Path, key: Path, hosts: set[str]) -> bool:
    from cryptography import x509

    try:
        known = x509.load_pem_x509_certificate(cert.read_bytes())
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
        names = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, ssl.SSLError, x509.ExtensionNotFound):
        return False
    left = known.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return left.days >= RENEW_DAYS and hosts <= {str(each.value) for each in names}


def _make(cert: Path, key: Path, hosts: set[str]) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"OpenOmni on {socket.gethostname()}"[:64])])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # for clocks that are behind
        .not_valid_after(now + datetime.timedelta(days=DAYS - 1))
        .add_extension(x509.SubjectAlternativeName([_name(each) for each in sorted(hosts)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    key.unlink(missing_ok=True)
    descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ))  # fmt: skip
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def _name(host: str):  # type: ignore[no-untyped-def]  # a GeneralName; cryptography is imported where it is needed
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _certificate(cert: Path, key: Path, folder: Path) -> Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    pem = cert.read_bytes()
    digest = x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256())
    system = ssl.get_default_verify_paths().cafile
    folder.mkdir(parents=True, exist_ok=True)
    trusted = folder / "trusted.pem"
    trusted.write_bytes((Path(system).read_bytes() + b"\n" if system else b"") + pem)
    return Certificate(cert, key, trusted, digest.hex(":").upper())
