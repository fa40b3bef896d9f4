"""The certificate of `openomni up --tls`: made once, for all names of the machine, renewed when it must be."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509

from openomni.cli import certificate

HOSTS = ["localhost", "127.0.0.1", "::1", "192.0.2.7"]


def test_it_holds_for_names_and_addresses_and_its_key_is_private(tmp_path: Path) -> None:
    made = certificate.own(tmp_path, HOSTS)
    known = x509.load_pem_x509_certificate(made.cert.read_bytes())
    names = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(each.value) for each in names} == set(HOSTS)
    left = known.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert certificate.RENEW_DAYS < left.days <= 398, "phones refuse certificates that hold for longer"
    assert made.key.stat().st_mode & 0o077 == 0


def test_it_stays_until_the_machine_gets_another_name(tmp_path: Path) -> None:
    first = certificate.own(tmp_path, HOSTS).fingerprint
    assert certificate.own(tmp_path, HOSTS[:2]).fingerprint == first
    assert certificate.own(tmp_path, [*HOSTS, "192.0.2.8"]).fingerprint != first


@pytest.mark.parametrize("damaged", ["cert.pem", "key.pem"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damaged: str) -> None:
    first = certificate.own(tmp_path, HOSTS).fingerprint
    (tmp_path / damaged).write_text("not PEM")
    assert certificate.own(tmp_path, HOSTS).fingerprint != first


def test_one_that_ends_soon_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "DAYS", certificate.RENEW_DAYS)
    first = certificate.own(tmp_path, HOSTS).fingerprint
    monkeypatch.undo()
    assert certificate.own(tmp_path, HOSTS).fingerprint != first


def test_who_trusts_the_file_is_let_in_and_nobody_else(tmp_path: Path) -> None:
    made = certificate.own(tmp_path, HOSTS)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(made.cert, made.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for _ in range(2):
                connection, _address = listener.accept()
                try:
                    with serving.wrap_socket(connection, server_side=True) as secured:
                        secured.sendall(b"here")
                except (ssl.SSLError, OSError):
                    connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        address = listener.getsockname()
        trusting = ssl.create_default_context(cafile=made.trusted)
        with (
            socket.create_connection(address) as plain,
            trusting.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            assert secured.recv(4) == b"here"
        with (
            socket.create_connection(address) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
            ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1"),
        ):
            pass
        thread.join()


def test_the_address_becomes_a_square_of_blocks() -> None:
    lines = certificate.qr_code("https://192.0.2.7:8000/sign-in/x/").splitlines()
    assert len(lines) > 10
    assert len({len(line) for line in lines if "\x1b" not in line}) <= 2
