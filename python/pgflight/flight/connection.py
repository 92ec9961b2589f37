"""The server's address, and calls to it."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, TypeVar, Union

import pyarrow as pa
from pyarrow import flight

from pgflight import errors
from pgflight.errors import InvalidCommand, Unsupported
from pgflight.flight import command, names
from pgflight.flight.patience import DEFAULT_SECONDS, Patience, seconds_of

#: Default message limit of a gRPC server, in bytes.
DEFAULT_MESSAGE_BYTES = 4 * 1024 * 1024

# Keepalive detects a server that vanished, and keeps idle connections open through NAT and load balancers during a
# long COPY or commit. The cap on the reconnect backoff (2 minutes in gRPC) lets retries of an action find a restarted server.
_CHANNEL_OPTIONS: List[Tuple[str, Union[int, str]]] = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]

#: Seconds after which a new session is opened: well below a sensible lifetime of sessions.
_SESSION_SECONDS = 300.0

#: The process that made the first connection. gRPC's threads do not survive a fork, so calls in a child hang.
_grpc_process: Optional[int] = None

_Answer = TypeVar("_Answer")

_SCHEMES = ("grpc", "grpc+tcp", "grpc+tls", "grpc+unix")
_ADDRESS = "give the address of a pgflight server, as in grpc://host:8815"


@dataclass(frozen=True)
class Endpoint:
    """A server's address and the credentials for it. It can be pickled, and its repr holds no secret."""

    url: str
    token: Optional[str] = field(default=None, repr=False)
    tls_root_certs: Optional[bytes] = field(default=None, repr=False)
    token_file: Optional[str] = None
    username: Optional[str] = None
    password: Optional[str] = field(default=None, repr=False)
    retry_seconds: float = DEFAULT_SECONDS
    tls_client_cert: Optional[bytes] = field(default=None, repr=False)
    tls_client_key: Optional[bytes] = field(default=None, repr=False)

    @classmethod
    def parse(
        cls,
        url: str,
        token: Optional[str] = None,
        tls_root_certs: Union[bytes, str, Path, None] = None,
        *,
        token_file: Union[str, Path, None] = None,
        username: Optional[str] = None,
        password: Optional[str] = None,
        retry_timeout: Union[None, int, float, str] = None,
        tls_client_cert: Union[bytes, str, Path, None] = None,
        tls_client_key: Union[bytes, str, Path, None] = None,
    ) -> Endpoint:
        """Checks an address as a user writes it.

        Args:
            url: `grpc://host:port`, `grpc+tls://host:port`, `grpc+unix:///path` or `host:port`.
            token: The token, sent with every call as `authorization: Bearer …`. Without any credentials here, the
                environment variable PGFLIGHT_TOKEN, if it is set.
            token_file: A file that holds the token. The process that connects reads it for every connection, so a new
                token in it counts from the next connection on, and Spark sends no token to its tasks.
            username: The principal, for servers that exchange a token for a session.
            password: The principal's token, with `username`. Servers accept it over TLS only.
            tls_root_certs: PEM certificates to trust, as bytes or as the path of a file. They travel as bytes, since
                Spark's executors may lack the file.
            retry_timeout: How long calls of a write are tried again while servers or PostgreSQL are away: seconds, or
                text such as "90s" or "2min".
            tls_client_cert: This client's certificate as PEM, with those between it and the root, for servers that
                know a principal by its certificate. As bytes or as the path of a file.
            tls_client_key: The key of the client's certificate. It travels to tasks with the certificate.

        Raises:
            InvalidCommand: for a wrong address or time, and for credentials that are given twice. The message never
                holds a token, or the address, which may hold a password.
        """
        if (username is None) != (password is None):
            raise InvalidCommand("username and password are not both given", hint="give both")
        ways = [token, token_file, username]
        if sum(way is not None for way in ways) > 1:
            raise InvalidCommand(
                "credentials are given more than once",
                hint="give one of token, token_file, and username with password",
            )
        if all(way is None for way in ways):
            token = os.environ.get("PGFLIGHT_TOKEN") or None
        if token is not None and not re.fullmatch(r"[\x21-\x7e]+", token):
            raise InvalidCommand("the token is empty, or holds a space or a non-ASCII character")
        if (tls_client_cert is None) != (tls_client_key is None):
            raise InvalidCommand(
                "tls_client_cert and tls_client_key are not both given", hint="give both"
            )
        file = None if token_file is None else str(token_file)
        return cls(
            _checked_url(url),
            token,
            _pem(tls_root_certs),
            file,
            username,
            password,
            seconds_of(retry_timeout),
            _pem(tls_client_cert),
            _pem(tls_client_key),
        )

    def connect(self, max_message_bytes: Optional[int] = None) -> Connection:
        """Makes a connection. It sends nothing before its first call.

        Args:
            max_message_bytes: The largest message; larger ones are rejected before they are sent.

        Raises:
            Unsupported: in a process that was forked from one with a connection.
        """
        return Connection(self, max_message_bytes)


class Connection:
    """Calls to one server. They raise `PgFlightError` in place of pyarrow's exceptions."""

    def __init__(self, endpoint: Endpoint, max_message_bytes: Optional[int] = None) -> None:
        _reject_after_fork()
        self.url = endpoint.url
        self._endpoint = endpoint
        token = endpoint.token
        if endpoint.token_file is not None:
            token = _read_token(endpoint.token_file)
        self._headers: List[Tuple[bytes, bytes]] = []
        if token is not None:
            self._headers.append((b"authorization", b"Bearer " + token.encode("ascii")))
        self._session_opened: Optional[float] = None
        channel_options = list(_CHANNEL_OPTIONS)
        if endpoint.url.startswith("grpc+unix:"):
            # gRPC sends the percent-encoded path as :authority, which HTTP/2 servers reject.
            channel_options.append(("grpc.default_authority", "localhost"))
        self._arguments: Dict[str, Any] = {"generic_options": channel_options}
        if max_message_bytes is not None:
            self._arguments["write_size_limit_bytes"] = max_message_bytes
        if endpoint.tls_root_certs is not None:
            self._arguments["tls_root_certs"] = endpoint.tls_root_certs
        if endpoint.tls_client_cert is not None:
            self._arguments["cert_chain"] = endpoint.tls_client_cert
            self._arguments["private_key"] = endpoint.tls_client_key
        self._client = self._new_client()

    @property
    def retry_seconds(self) -> float:
        """Seconds for which a call is tried again after retryable errors."""
        return self._endpoint.retry_seconds

    def renew(self) -> None:
        """Opens a new connection, so that the next call may reach another server at the same address.

        A call that is under way keeps its connection.
        """
        self._client = self._new_client()
        self._session_opened = None

    def _new_client(self) -> flight.FlightClient:
        try:
            return flight.FlightClient(self.url, **self._arguments)
        except errors.TRANSPORT_ERRORS as error:
            raise errors.from_transport(error, self.url) from None

    def _options(self, timeout_seconds: Optional[float] = None) -> flight.FlightCallOptions:
        """Returns the options of a call: credentials and timeout."""
        name, password = self._endpoint.username, self._endpoint.password
        if name is not None and password is not None:
            now = time.monotonic()
            if self._session_opened is None or now > self._session_opened + _SESSION_SECONDS:
                self._headers = [self._client.authenticate_basic_token(name, password)]
                self._session_opened = now
        return flight.FlightCallOptions(timeout=timeout_seconds, headers=self._headers)

    def action(
        self,
        kind: str,
        name: str,
        fields: Mapping[str, Any],
        *,
        retry_seconds: float = 0.0,
        timeout_seconds: Optional[float] = None,
    ) -> Dict[str, Any]:
        """Runs one action. All actions are idempotent.

        Args:
            kind: The action's type: `begin`.
            name: Name of its message: `BeginRequest`.
            fields: The message's fields.
            retry_seconds: How long to try again while servers or PostgreSQL are away. It does not cut a running try
                short.
            timeout_seconds: How long one try may take.

        Returns:
            The fields of the answer.

        Raises:
            PgFlightError: the error of the last try.
        """
        action = flight.Action(kind, command.message(name, fields))
        return self.patiently(retry_seconds, lambda: self._answer(action, timeout_seconds))

    def patiently(self, retry_seconds: float, call: Callable[[], _Answer]) -> _Answer:
        """Makes an idempotent call, and tries it again on a new connection after retryable errors.

        Args:
            retry_seconds: How long to try again.
            call: Makes the call through this connection.

        Raises:
            PgFlightError: the error of the last try.
        """
        patience = Patience(retry_seconds)
        while True:
            try:
                return call()
            except errors.PgFlightError as error:
                if not patience.allows(error):
                    raise
            self.renew()

    def _answer(self, action: flight.Action, timeout_seconds: Optional[float]) -> Dict[str, Any]:
        _reject_after_fork()
        try:
            options = self._options(timeout_seconds)
            results = [r.body.to_pybytes() for r in self._client.do_action(action, options)]
        except errors.TRANSPORT_ERRORS as error:
            raise errors.from_transport(error, self.url) from None
        if len(results) != 1:
            raise errors.Internal(
                f"action {action.type!r} gave {len(results)} answers instead of one",
                hint=f"check that a pgflight server answers at {self.url}",
            )
        return command.parse(results[0])

    def put(
        self, descriptor: bytes, schema: pa.Schema
    ) -> Tuple[flight.FlightStreamWriter, flight.FlightMetadataReader]:
        """Opens a stream, which `pgflight.flight.stream` sends."""
        _reject_after_fork()
        try:
            return self._client.do_put(
                flight.FlightDescriptor.for_command(descriptor), schema, self._options()
            )
        except errors.TRANSPORT_ERRORS as error:
            raise errors.from_transport(error, self.url) from None

    def fetch(self, ticket: bytes) -> pa.Table:
        """Returns the rows that a ticket stands for."""
        _reject_after_fork()
        try:
            return self._client.do_get(flight.Ticket(ticket), self._options()).read_all()
        except errors.TRANSPORT_ERRORS as error:
            raise errors.from_transport(error, self.url) from None

    def table_schema(self, table: str, target: Optional[str] = None) -> pa.Schema:
        """Returns the Arrow schema of a table, as the server sees it."""
        _reject_after_fork()
        path = names.split(table)
        if target:
            # The part for the schema is empty if the table is named without one.
            path = (target, *([""] if len(path) == 1 else []), *path)
        descriptor = flight.FlightDescriptor.for_path(*path)
        # pyarrow drops the error details of this call; a middleware still gets them.
        details = _Details()
        client = flight.FlightClient(self.url, middleware=[details], **self._arguments)
        try:
            return client.get_schema(descriptor, self._options()).schema
        except errors.TRANSPORT_ERRORS as error:
            raise errors.from_transport(error, self.url, details.received) from None
        finally:
            client.close()

    def tables(self, target: Optional[str] = None) -> Tuple[str, ...]:
        """Returns the tables that the server offers, of all targets or of one."""
        _reject_after_fork()
        criteria = (target or "").encode("utf-8")
        try:
            flights = list(self._client.list_flights(criteria, self._options()))
        except errors.TRANSPORT_ERRORS as error:
            raise errors.from_transport(error, self.url) from None
        # The last two parts name the table. With several targets, the target comes before them.
        paths = (info.descriptor.path[-2:] for info in flights)
        return tuple(names.join(part.decode("utf-8") for part in path) for path in paths)

    def close(self) -> None:
        """Closes the connection. A second call, and a call in a forked child, does nothing."""
        if _grpc_process == os.getpid():
            self._client.close()


class _Details(flight.ClientMiddlewareFactory):
    """Keeps the error details of a client's last call."""

    def __init__(self) -> None:
        super().__init__()
        self.received = b""

    def start_call(self, info: flight.CallInfo) -> flight.ClientMiddleware:
        return _DetailsOfCall(self)


class _DetailsOfCall(flight.ClientMiddleware):
    def __init__(self, details: _Details) -> None:
        super().__init__()
        self._details = details

    def received_headers(self, headers: Mapping[str, Any]) -> None:
        # pyarrow calls this for trailers as well.
        for value in headers.get("grpc-status-details-bin", ()):
            self._details.received = value


def _reject_after_fork() -> None:
    global _grpc_process
    if _grpc_process is None:
        _grpc_process = os.getpid()
    elif _grpc_process != os.getpid():
        raise Unsupported(
            "gRPC does not work in a process that was forked from one that had connected to pgflight",
            hint="start the process by multiprocessing's 'spawn' or 'forkserver', or connect only after the fork",
        )


def _pem(given: Union[bytes, str, Path, None]) -> Optional[bytes]:
    return Path(given).read_bytes() if isinstance(given, (str, Path)) else given


def _read_token(path: str) -> str:
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidCommand(
            f"cannot read the token from {path!r}: {type(error).__name__}"
        ) from None
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise InvalidCommand(
            f"the file {path!r} holds something other than one token",
            hint="write the token alone into it",
        )
    return token


def _checked_url(url: str) -> str:
    if not isinstance(url, str) or not url:
        raise InvalidCommand("the server's address is missing", hint=_ADDRESS)
    scheme, found, rest = url.partition("://")
    if url.startswith("jdbc:") or scheme in ("postgres", "postgresql"):
        raise InvalidCommand(
            "the server's address is the address of a database",
            hint=f"{_ADDRESS}; the server holds the address and credentials of the database",
        )
    if not found:
        scheme, rest = "grpc", url
    if scheme not in _SCHEMES:
        raise InvalidCommand(
            "the server's address has an unknown scheme", hint=f"{_ADDRESS}, or grpc+tls:// for TLS"
        )
    if "@" in rest:
        raise InvalidCommand(
            "the server's address holds a user or password", hint="pass token= instead"
        )
    if scheme != "grpc+unix" and not re.search(r"^[^/\s]+:\d+$", rest.rstrip("/")):
        raise InvalidCommand("the server's address is not a host and a port", hint=_ADDRESS)
    return f"{scheme}://{rest.rstrip('/') if scheme != 'grpc+unix' else rest}"
