"""TLS, by the pyarrow that users have."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

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


def write(url: str, roots: Optional[Path]) -> None:
    with pgflight.connect(url, tls_root_certs=roots, retry_timeout=0) as client:
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
        for refused, roots in ((url, other), (server.url, None)):
            with pytest.raises(pgflight.Unavailable):
                write(refused, roots)
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
