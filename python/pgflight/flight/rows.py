"""The rows of a stream, which can be sent again while none is lost."""

from __future__ import annotations

import itertools
from typing import Iterable, Iterator, List, Optional

import pyarrow as pa


class Rows:
    """Batches of one schema, which can be sent again from the start while none is lost.

    The first batch of an iterator is taken at once and kept, for three reasons. It has the batches' true schema: Spark
    labels timestamps with the session's time zone, which the driver's side of a data source does not know. A task that
    has its first batch has something to send, so no COPY waits for a task that still computes. And a stream that fails
    before the second batch is taken can be sent again.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Args:
        batches: A list, which can always be sent again; or an iterator.

        Raises:
            Exception: whatever an iterator raises.
        """
        self._kept: List[pa.RecordBatch]
        self._rest: Iterator[pa.RecordBatch]
        if isinstance(batches, list):
            self._kept, self._rest = batches, iter([])
        else:
            self._rest = iter(batches)
            self._kept = list(itertools.islice(self._rest, 1))
        self._is_whole = True

    @property
    def schema(self) -> Optional[pa.Schema]:
        """The schema of the first batch; None without batches."""
        return self._kept[0].schema if self._kept else None

    @property
    def is_whole(self) -> bool:
        """Whether another iteration yields all batches."""
        return self._is_whole

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yields all batches from the first on. A second iteration needs `is_whole`."""
        yield from self._kept
        for batch in self._rest:
            self._is_whole = False
            yield batch
