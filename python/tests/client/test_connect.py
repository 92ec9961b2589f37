"""Connections by the pyarrow that users have: TLS, and what a client reports when no server answers."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Iterator, Optional

import pyarrow as pa
import pytest
import trustme
from conftest import Database, Server

import pgflight

ROWS = pa.table({"n": pa.array([1, 2, 3], pa.int32())})


def make_authority(folder: Path, name: str) -> Path:
    """The file of an authority, beside a certificate of its own for 127.0.0.1 and the key of that."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", f"{name}.example")
    authority.cert_pem.write_to_path(folder / f"{name}.ca")
    issued.cert_chain_pems[0].write_to_path(folder / f"{name}.crt")
    issued.private_key_pem.write_to_path(folder / f"{name}.key")
    return folder / f"{name}.ca"


def write(url: str, roots: Optional[Path] = None, patience: float = 0) -> None:
    with pgflight.connect(url, tls_root_certs=roots, retry_timeout=patience) as client:
        client.write(ROWS, "public.t")


def test_only_clients_that_trust_the_server_write_over_tls(
    database: Database, tmp_path: Path
) -> None:
    database.run("CREATE TABLE public.t (n int)")
    ours, other = make_authority(tmp_path, "ours"), make_authority(tmp_path, "other")
    certificate, key = str(tmp_path / "ours.crt"), str(tmp_path / "ours.key")
    server = Server(database.url, "--tls-cert", certificate, "--tls-key", key)
    try:
        url = server.url.replace("grpc://", "grpc+tls://")
        write(url, ours)
        assert database.count("public.t") == 3
        for wrong, roots in ((url, other), (server.url, None)):
            with pytest.raises(pgflight.Unavailable):
                write(wrong, roots)
        assert database.count("public.t") == 3
    finally:
        server.stop()


def test_a_client_certificate_authenticates_its_principal(
    database: Database, tmp_path: Path
) -> None:
    database.run("CREATE TABLE public.t (n int)")
    ours, theirs = make_authority(tmp_path, "ours"), make_authority(tmp_path, "theirs")
    (tmp_path / "pgflight.toml").write_text(
        f"""
        [server]
        tls_cert = "ours.crt"
        tls_key = "ours.key"
        tls_client_ca = "{theirs}"
        [principals.etl]
        certificates = ["DNS:theirs.example"]
        grants = [{{ tables = ["public.t"], modes = ["append"] }}]
        """
    )
    server = Server(database.url, "--config", str(tmp_path / "pgflight.toml"))
    try:
        url = server.url.replace("grpc://", "grpc+tls://")
        certificate, key = tmp_path / "theirs.crt", (tmp_path / "theirs.key").read_bytes()
        with pgflight.connect(
            url, tls_root_certs=ours, tls_client_cert=certificate, tls_client_key=key
        ) as client:
            client.write(ROWS, "public.t")
        assert database.count("public.t") == 3
        with pytest.raises(pgflight.PgFlightError):
            write(url, ours)
        with pytest.raises(pgflight.InvalidCommand, match="not both given"):
            pgflight.connect(url, tls_client_cert=certificate)
        assert database.count("public.t") == 3
    finally:
        server.stop()


@pytest.fixture
def plain(database: Database) -> Iterator[Server]:
    database.run("CREATE TABLE public.t (n int)")
    server = Server(database.url)
    yield server
    server.stop()


@pytest.fixture
def encrypted(database: Database, tmp_path: Path) -> Iterator[Server]:
    database.run("CREATE TABLE public.t (n int)")
    make_authority(tmp_path, "ours")
    certificate, key = str(tmp_path / "ours.crt"), str(tmp_path / "ours.key")
    server = Server(database.url, "--tls-cert", certificate, "--tls-key", key)
    yield server
    server.stop()


def refused(url: str, roots: Optional[Path] = None, patience: float = 5) -> pgflight.PgFlightError:
    with pytest.raises(pgflight.Unavailable, match="could not connect to a pgflight") as error:
        write(url, roots, patience)
    return error.value


def test_tls_to_a_server_without_it_fails_at_once_with_the_other_scheme(
    plain: Server, tmp_path: Path
) -> None:
    roots = make_authority(tmp_path, "ours")
    error = refused(plain.url.replace("grpc://", "grpc+tls://"), roots)
    assert not error.retryable
    assert error.tried_seconds is None
    assert "use grpc://" in (error.hint or "")
    write(plain.url)


def test_no_tls_to_a_server_with_it_names_the_other_scheme(
    encrypted: Server, tmp_path: Path
) -> None:
    error = refused(encrypted.url, patience=0)
    assert "use grpc+tls://" in (error.hint or "")
    write(encrypted.url.replace("grpc://", "grpc+tls://"), tmp_path / "ours.ca")


@pytest.mark.parametrize("authority", ["none", "other"])
def test_a_certificate_that_is_not_trusted_fails_at_once_with_the_option(
    encrypted: Server, tmp_path: Path, authority: str
) -> None:
    url = encrypted.url.replace("grpc://", "grpc+tls://")
    roots = None if authority == "none" else make_authority(tmp_path, "other")
    error = refused(url, roots)
    assert not error.retryable
    assert error.tried_seconds is None
    assert "tls_root_certs" in (error.hint or "")
    write(url, tmp_path / "ours.ca")


def test_a_name_that_the_certificate_lacks_fails_at_once(encrypted: Server, tmp_path: Path) -> None:
    url = encrypted.url.replace("grpc://127.0.0.1", "grpc+tls://localhost")
    error = refused(url, tmp_path / "ours.ca")
    assert not error.retryable
    assert error.tried_seconds is None
    assert "a name that the server's certificate holds" in (error.hint or "")
    write(url.replace("localhost", "127.0.0.1"), tmp_path / "ours.ca")


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
def test_a_proxy_that_does_not_answer_is_named(
    plain: Server, closed_port: int, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, f"http://127.0.0.1:{closed_port}")
    error = refused(plain.url, patience=0)
    assert f"the variable {variable} sends the call to a proxy" in (error.hint or "")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    write(plain.url)


def test_a_program_that_speaks_http1_is_not_taken_for_the_server() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(1)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    threading.Thread(target=answer, daemon=True).start()
    error = refused(f"grpc://127.0.0.1:{listener.getsockname()[1]}", patience=0)
    listener.close()
    assert "another program answers there" in (error.hint or "")


@pytest.mark.parametrize(
    ("host", "advice"),
    [("127.0.0.1", "`pgflight serve` runs there"), ("no-such-host.invalid", "name of the host")],
)
def test_an_address_where_nothing_listens_says_what_to_check(
    closed_port: int, host: str, advice: str
) -> None:
    error = refused(f"grpc://{host}:{closed_port}", patience=0)
    assert error.retryable
    assert advice in (error.hint or "")
