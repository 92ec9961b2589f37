"""Authentication: tokens, token files and sessions, none of which is ever shown."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pyarrow as pa
import pytest
from conftest import Database, Server
from pyarrow import flight
from test_connect import make_authority

import pgflight
from pgflight.flight.connection import Endpoint

TOKEN = "pgf_a-token-of-a-test"
ROWS = pa.table({"n": pa.array([1, 2, 3], pa.int32())})


@pytest.fixture
def guarded(database: Database, tmp_path: Path) -> Iterator[Server]:
    """A server over TLS with one principal, `etl`, that may append to public.t."""
    make_authority(tmp_path, "ours")
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    (tmp_path / "pgflight.toml").write_text(
        f"""
        [server]
        tls_cert = "ours.crt"
        tls_key = "ours.key"
        [principals.etl]
        tokens = ["sha256:{digest}"]
        grants = [{{ tables = ["public.t"], modes = ["append"] }}]
        """
    )
    database.run("CREATE TABLE public.t (n int); CREATE TABLE public.u (n int)")
    server = Server(database.url, "--config", str(tmp_path / "pgflight.toml"))
    server.url = server.url.replace("grpc://", "grpc+tls://")
    yield server
    server.stop()
    assert TOKEN not in "".join(server.log)


@pytest.fixture
def connect(guarded: Server, tmp_path: Path) -> Callable[..., pgflight.Client]:
    def connect(**how: object) -> pgflight.Client:
        return pgflight.connect(guarded.url, tls_root_certs=tmp_path / "ours.ca", **how)  # type: ignore[arg-type]

    return connect


def test_each_credential_authenticates(
    connect: Callable[..., pgflight.Client],
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    ways: List[Dict[str, Any]] = [
        {"token": TOKEN},
        {"token_file": file},
        {"username": "etl", "password": TOKEN},
    ]
    for way in ways:
        with connect(**way) as client:
            client.write(ROWS, "public.t")
            assert client.tables() == ("public.t",)
            with pytest.raises(pgflight.PermissionDenied):
                client.write(ROWS, "public.u")
    monkeypatch.setenv("PGFLIGHT_TOKEN", TOKEN)
    with connect() as client:
        client.write(ROWS, "public.t")
    assert (database.count("public.t"), database.count("public.u")) == (12, 0)


def test_wrong_credentials_are_rejected(
    connect: Callable[..., pgflight.Client], database: Database
) -> None:
    batches = pa.Table.from_batches(ROWS.to_batches() * 1000)
    for way in ({}, {"token": "x" * 40}, {"username": "ana", "password": TOKEN}):
        with connect(**way) as client:
            for call in (
                lambda: client.write(batches, "public.t"),
                client.tables,
                lambda: client.table_schema("public.t"),
                lambda: client.status("w"),
            ):
                with pytest.raises(pgflight.Unauthenticated) as raised:
                    call()
                assert TOKEN not in str(raised.value)
    assert database.count("public.t") == 0


def test_a_new_token_in_the_file_is_used(guarded: Server, tmp_path: Path) -> None:
    file = tmp_path / "token"
    endpoint = Endpoint.parse(guarded.url, None, tmp_path / "ours.ca", token_file=file)
    # The name of the file travels to a task, and not its content.
    endpoint = pickle.loads(pickle.dumps(endpoint))
    with pytest.raises(pgflight.InvalidCommand, match="cannot read the token"):
        endpoint.connect()
    for token, served in (("old", False), (TOKEN, True)):
        file.write_text(token)
        assert token.encode() not in pickle.dumps(endpoint)
        connection = endpoint.connect()
        if served:
            assert connection.tables() == ("public.t",)
        else:
            with pytest.raises(pgflight.Unauthenticated):
                connection.tables()
        connection.close()


def test_arrows_own_client_shakes_hands(guarded: Server, tmp_path: Path) -> None:
    roots = (tmp_path / "ours.ca").read_bytes()
    with flight.FlightClient(guarded.url, tls_root_certs=roots) as client:
        session = client.authenticate_basic_token("etl", TOKEN)
        assert TOKEN.encode() not in session[1]
        options = flight.FlightCallOptions(headers=[session])
        (found,) = client.list_flights(options=options)
        assert found.descriptor.path == [b"public", b"t"]
        with pytest.raises(flight.FlightUnauthenticatedError):
            client.authenticate_basic_token("etl", "x")


def test_credentials_are_given_once_and_never_shown() -> None:
    url = "grpc://host:8815"
    for wrong in (
        {"token": "a b"},
        {"token": ""},
        {"token": "häh"},
        {"token": TOKEN, "token_file": "x"},
        {"token": TOKEN, "username": "etl", "password": TOKEN},
        {"username": "etl"},
        {"password": TOKEN},
    ):
        with pytest.raises(pgflight.InvalidCommand) as raised:
            pgflight.connect(url, **wrong)  # type: ignore[arg-type]
        assert TOKEN not in str(raised.value)
    for endpoint in (
        Endpoint.parse(url, TOKEN),
        Endpoint.parse(url, username="etl", password=TOKEN),
    ):
        assert TOKEN not in repr(endpoint) + str(endpoint)
