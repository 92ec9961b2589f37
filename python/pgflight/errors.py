"""The exceptions of the client, and the conversion of pyarrow's exceptions into them.

The server describes an error in a `google.rpc.ErrorInfo`, whose bytes pyarrow passes on as `extra_info`. Without them
(no server, a proxy, a lost connection) the class and the text of pyarrow's exception decide.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any, Dict, Iterator, List, Optional, Tuple, Type, Union

import pyarrow as pa
from pyarrow import flight

from pgflight.flight import unreachable

#: The exceptions of calls through pyarrow.flight. pyarrow raises a lost connection as `OSError` where Arrow's C++ code
#: has no Flight status.
TRANSPORT_ERRORS = (pa.ArrowException, OSError)


class PgFlightError(Exception):
    """The base of all errors that pgflight reports.

    The first line of `str(error)` is the message. The second line lists, in square brackets, the attributes that are
    known. The third line is the hint.

    Attributes:
        message: What went wrong: one fact.
        hint: What to do about it; None if nothing is known.
        reason: The kind of error in capitals, as the server names it: `DATA_REJECTED`.
        sqlstate: PostgreSQL's five-character code, if PostgreSQL reported the error.
        table: The table, quoted where SQL needs it.
        column: The column, as the data or the catalog names it.
        row: The number of the row within its stream, from 0. A stream is one `Client.write`, or one attempt of one
            Spark partition.
        constraint: The constraint that PostgreSQL named.
        write_id: The write that the error belongs to.
        retryable: Whether the same call may succeed later.
        decided: Whether the commit of the write is decided, so that the same call returns its result later.
        tried_seconds: For how long the client tried the call again before it gave up; None if it did not.
    """

    reason: str = "INTERNAL"
    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        hint: Optional[str] = None,
        sqlstate: Optional[str] = None,
        table: Optional[str] = None,
        column: Optional[str] = None,
        row: Optional[int] = None,
        constraint: Optional[str] = None,
        retryable: Optional[bool] = None,
        reason: Optional[str] = None,
        write_id: Optional[str] = None,
        decided: bool = False,
        tried_seconds: Optional[float] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.sqlstate = sqlstate
        self.table = table
        self.column = column
        self.row = row
        self.constraint = constraint
        self.write_id = write_id
        self.decided = decided
        self.tried_seconds = tried_seconds
        self.reason = reason or type(self).reason
        self.retryable = type(self).retryable if retryable is None else retryable

    def __str__(self) -> str:
        details = "".join(
            f" {name}={json.dumps(value)}"
            for name, value in self._shown_details().items()
            if value is not None
        )
        # `from_text` reads the details back from the text of a failed Spark job.
        hint = f"\nHint: {self.hint}" if self.hint else ""
        return f"{self.message}\n[{self.reason}{details}]{hint}"

    def __reduce__(self) -> Tuple[Any, ...]:
        # Python pickles an exception by its positional arguments, and these are keywords. Spark's workers pickle what
        # they raise.
        return (_rebuild, (type(self), self.message, self._keywords(), self._more()))

    def caused(self, message: str, hint: str) -> PgFlightError:
        """Returns an error of the same kind whose message says what failed because of this one."""
        keywords = dict(self._keywords(), hint=hint)
        return _rebuild(type(self), f"{message}: {self.message}", keywords, self._more())

    def _keywords(self) -> Dict[str, Any]:
        """The keyword arguments that make an equal error."""
        return dict(
            self._details(),
            reason=self.reason,
            retryable=self.retryable,
            decided=self.decided,
            hint=self.hint,
        )

    def _more(self) -> Dict[str, Any]:
        """Attributes that are set after construction."""
        return {}

    def _shown_details(self) -> Dict[str, Union[str, int, float, None]]:
        return self._details()

    def _details(self) -> Dict[str, Union[str, int, float, None]]:
        return {
            "sqlstate": self.sqlstate,
            "table": self.table,
            "column": self.column,
            "row": self.row,
            "constraint": self.constraint,
            "write_id": self.write_id,
            "tried_seconds": self.tried_seconds,
        }


class PgFlightWarning(UserWarning):
    """A call that succeeded and may not have done what the caller meant."""


class InvalidCommand(PgFlightError):
    """An argument, option or command that cannot be understood."""

    reason = "INVALID_COMMAND"


class SchemaMismatch(PgFlightError):
    """Columns or types of the data do not fit the table."""

    reason = "SCHEMA_MISMATCH"


class DataRejected(PgFlightError):
    """A value does not fit its column: out of range, NULL, a violated constraint."""

    reason = "DATA_REJECTED"


class Unsupported(PgFlightError):
    """A type, option or call that is not supported."""

    reason = "UNSUPPORTED"


class NotFound(PgFlightError):
    """A table, schema, database or write does not exist."""

    reason = "NOT_FOUND"


class AlreadyExists(PgFlightError):
    """A table exists already, or a write id is used for another write."""

    reason = "ALREADY_EXISTS"


class Conflict(PgFlightError):
    """A write is already aborted, or was committed with other receipts."""

    reason = "CONFLICT"


class Unauthenticated(PgFlightError):
    """The token is missing or wrong."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(PgFlightError):
    """The caller or the server's database role lacks a permission."""

    reason = "PERMISSION_DENIED"


class Unavailable(PgFlightError):
    """The server is away or busy, or it cannot reach PostgreSQL. A retry may succeed."""

    reason = "UNAVAILABLE"
    retryable = True


class Cancelled(PgFlightError):
    """The call was cancelled."""

    reason = "CANCELLED"


class Timeout(PgFlightError):
    """A deadline passed."""

    reason = "TIMEOUT"


class Internal(PgFlightError):
    """A bug or a misconfiguration of the server."""

    reason = "INTERNAL"


class OutcomeUnknown(PgFlightError):
    """The client sent all rows of a write of one stream and got no answer, so it cannot know whether they are there.

    Sending them again could write them twice. `DistributedWrite` and saves from Spark cannot end this way.
    """

    reason = "OUTCOME_UNKNOWN"


class PreparedLost(PgFlightError):
    """A commit was decided, and another session had ended prepared transactions that held some of its rows.

    The other rows are in the table.

    Attributes:
        lost: The partitions whose rows are missing, each with its number of rows; empty if the client could not ask
            the server for them.
    """

    reason = "PREPARED_LOST"
    lost: Tuple[Tuple[int, int], ...] = ()

    def _more(self) -> Dict[str, Any]:
        return {"lost": self.lost}

    def _shown_details(self) -> Dict[str, Union[str, int, float, None]]:
        lost = ", ".join(f"{count} rows of partition {part}" for part, count in self.lost)
        return {**self._details(), "lost": lost or None}


class ReceiptMissing(PgFlightError):
    """The stream ended without a receipt for all its rows, so nothing proves that the server kept them."""

    reason = "RECEIPT_MISSING"


_BY_REASON: Dict[str, Type[PgFlightError]] = {
    kind.reason: kind
    for kind in (
        InvalidCommand,
        SchemaMismatch,
        DataRejected,
        Unsupported,
        NotFound,
        AlreadyExists,
        Conflict,
        Unauthenticated,
        PermissionDenied,
        Unavailable,
        Cancelled,
        Timeout,
        Internal,
        OutcomeUnknown,
        PreparedLost,
        ReceiptMissing,
    )
}

# A class comes before its bases.
_BY_CLASS: Tuple[Tuple[Type[BaseException], Type[PgFlightError]], ...] = (
    (flight.FlightUnavailableError, Unavailable),
    (flight.FlightUnauthenticatedError, Unauthenticated),
    (flight.FlightUnauthorizedError, PermissionDenied),
    (flight.FlightTimedOutError, Timeout),
    (flight.FlightCancelledError, Cancelled),
    (pa.ArrowNotImplementedError, Unsupported),
    (pa.ArrowKeyError, NotFound),
    (pa.ArrowInvalid, InvalidCommand),
    # An OSError without a Flight status is a broken connection (apache/arrow issue 43374).
    (OSError, Unavailable),
)


def from_transport(error: BaseException, url: str, details: bytes = b"") -> PgFlightError:
    """Converts an exception of pyarrow.

    Args:
        error: One of `TRANSPORT_ERRORS`.
        url: The server's address, for the message when no server answers there.
        details: The details of the call's status, if pyarrow's exception has none.

    Returns:
        The exception to raise.
    """
    message = clean_message(str(error))
    info = error_info(getattr(error, "extra_info", None) or details)
    if info is not None:
        reason, fact, metadata = info
        return _from_metadata(reason, fact or message, metadata)
    kind = next((ours for theirs, ours in _BY_CLASS if isinstance(error, theirs)), Internal)
    if kind is Unavailable:
        return _unreachable(message, url)
    return kind(message or "the server gave no reason")


def has_details(error: BaseException) -> bool:
    """Whether the server described the error itself."""
    return error_info(getattr(error, "extra_info", None) or b"") is not None


def from_text(text: str) -> Optional[PgFlightError]:
    """Finds the exception of a task in the text of a failed Spark job.

    Args:
        text: The text of Spark's exception on the driver, which quotes the task's traceback.

    Returns:
        The exception as the task raised it, or None when the job failed for another reason.
    """
    found_by = (list(form.finditer(text)) for form in (_IN_TRACEBACK, _OF_JVM, _OF_SAIL))
    raised: List[re.Match[str]] = next(filter(None, found_by), [])
    if not raised:
        return None
    found = raised[-1]  # Those before it are its causes.
    details = {
        name: json.loads(value)
        for name, value in _DETAIL.findall(found["details"])
        if name
        in _KEPT_DETAILS  # Others are text, as that of lost rows, which the driver asks the server for.
    }
    kind = _BY_REASON.get(found["reason"], PgFlightError)
    return kind(found["message"], reason=found["reason"], hint=found["hint"], **details)


def from_spark(error: BaseException) -> Optional[PgFlightError]:
    """Finds the error of pgflight in an exception of Spark.

    `df.write.format("pgflight").save()` raises what Spark makes of an error: an AnalysisException, a PythonException or
    a Py4JJavaError, by version and source.

    Args:
        error: The exception, as `except Exception as error` has it.

    Returns:
        The error with its hint, SQLSTATE, column and so on, or None when Spark failed for another reason.
    """
    return error if isinstance(error, PgFlightError) else from_text(str(error))


@contextlib.contextmanager
def raised_by_spark() -> Iterator[None]:
    """Raises errors of pgflight as themselves.

        with pgflight.errors.raised_by_spark():
            df.write.format("pgflight").options(**options).save()

    Raises:
        PgFlightError: in place of the exception that Spark made of it. Other exceptions pass.
    """
    try:
        yield
    except Exception as raised:
        error = from_spark(raised)
        if error is None or error is raised:
            raise
        raise error from raised


_KEPT_DETAILS = ("sqlstate", "table", "column", "row", "constraint", "write_id", "tried_seconds")
_DETAIL = re.compile(r' (\w+)=("(?:[^"\\]|\\.)*"|[\d.]+)')
_IN_TRACEBACK = re.compile(
    r"^pgflight\.errors\.\w+: (?P<message>(?:(?!^pgflight\.errors\.).)*?)"
    r'\n\[(?P<reason>[A-Z_]+)(?P<details>(?: \w+=(?:"(?:[^"\\]|\\.)*"|[\d.]+))*)\](?:\nHint: (?P<hint>[^\n]+))?',
    re.MULTILINE | re.DOTALL,
)
#: Sail names the method before the error, in place of the module.
_OF_SAIL = re.compile(
    r"\[\w+::\w+\] \w+: (?P<message>[^\n]*)"
    r'\n\[(?P<reason>[A-Z_]+)(?P<details>(?: \w+=(?:"(?:[^"\\]|\\.)*"|[\d.]+))*)\](?:\nHint: (?P<hint>[^\n]+))?'
)
#: The JVM's source writes an error in one line, see PgFlightException.java.
_OF_JVM = re.compile(
    r"io\.pgflight\.PgFlightException: (?P<message>[^\n]*?)"
    r' \[(?P<reason>[A-Z_]+)(?P<details>(?: \w+=(?:"(?:[^"\\]|\\.)*"|[\d.]+))*)\](?: Hint: (?P<hint>[^\n]+))?'
)

# The text that pyarrow puts around the server's message.
_PREFIX = re.compile(r"^(?:Flight|gRPC) returned [\w -]+ error, with message: ", re.IGNORECASE)
_DEBUG = re.compile(r"\.? *gRPC client debug context: .*", re.DOTALL)
_CONTEXT = re.compile(r"\.? *Client context: .*", re.DOTALL)
_DETAIL_SUFFIX = re.compile(r"\. Detail: (?:[\w:]+|Python exception: .*)\s*$", re.DOTALL)


def clean_message(text: str) -> str:
    """Removes what gRPC and pyarrow put around the server's message."""
    for noise in (_DEBUG, _CONTEXT, _DETAIL_SUFFIX, _PREFIX):
        text = noise.sub("", text)
    return text.strip()


def error_info(extra_info: bytes) -> Optional[Tuple[str, str, Dict[str, str]]]:
    """Reads the `google.rpc.ErrorInfo` in a serialized `google.rpc.Status`.

    Args:
        extra_info: Bytes of the Status, as pyarrow gives them.

    Returns:
        Reason, message and metadata, or None if it holds no ErrorInfo of pgflight.
    """
    try:
        # Status.message = 2, .details = 3, Any.type_url = 1, Any.value = 2
        for detail in _all(extra_info, 3):
            if not _text(detail, 1).endswith("/google.rpc.ErrorInfo"):
                continue
            # ErrorInfo.reason = 1, .domain = 2, .metadata = 3 (entries: key = 1, value = 2)
            info = next(_all(detail, 2), b"")
            if _text(info, 2) == "pgflight":
                entries = {_text(entry, 1): _text(entry, 2) for entry in _all(info, 3)}
                return _text(info, 1), _text(extra_info, 2), entries
    except (ValueError, IndexError):
        pass  # Another server or a proxy made these bytes.
    return None


def _all(message: bytes, number: int) -> Iterator[bytes]:
    """Yields the length-delimited fields with this number in a protobuf message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire_type = tag & 7
        if wire_type == 2:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("cut short")
            if tag >> 3 == number:
                yield message[at : at + size]
            at += size
        elif wire_type == 0:
            _, at = _varint(message, at)
        elif wire_type == 1:
            at += 8
        elif wire_type == 5:
            at += 4
        else:
            raise ValueError(f"wire type {wire_type}")


def _varint(message: bytes, at: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("varint of more than ten bytes")


def _text(message: bytes, number: int) -> str:
    return next(_all(message, number), b"").decode("utf-8")


def _from_metadata(reason: str, message: str, metadata: Dict[str, str]) -> PgFlightError:
    row = metadata.get("row", "")
    retryable = metadata.get("retryable")
    return _BY_REASON.get(reason, PgFlightError)(
        message,
        hint=metadata.get("hint"),
        sqlstate=metadata.get("sqlstate"),
        table=metadata.get("table"),
        column=metadata.get("column"),
        row=int(row) if row.isdigit() else None,
        constraint=metadata.get("constraint"),
        write_id=metadata.get("write_id"),
        reason=reason,
        decided=metadata.get("decided") == "true",
        retryable=None if retryable is None else retryable == "true",
    )


def _unreachable(message: str, url: str) -> Unavailable:
    explained = unreachable.why(message, url)
    if explained is None:
        return Unavailable(f"lost the connection to the pgflight server at {url}: {message}")
    cause, hint, retryable = explained
    return Unavailable(
        f"could not connect to a pgflight server at {url}: {cause}",
        hint=hint,
        retryable=retryable,
    )


def _rebuild(
    kind: Type[PgFlightError], message: str, state: Dict[str, Any], more: Dict[str, Any]
) -> PgFlightError:
    error = kind(message, **state)
    error.__dict__.update(more)
    return error
