"""Finished rows on disk while a loop is running, so that a killed run can carry on.

For each row the file keeps what the network gave, bit for bit. The loop recomputes the rest from
that, in next to no time compared with the network.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from torch import Tensor

from sdloop.machine.documents import parse_json
from sdloop.machine.errors import UserError
from sdloop.machine.files import naming
from sdloop.sampler.answer import Answer

if TYPE_CHECKING:
    from sdloop.sampler.loop import Step

VERSION_KEY, FORMAT_VERSION = "sdloop_progress", 1
LARGEST_HEADER_BYTES = 2**20
CHECKSUM_BYTES = 4
CARRIERS = {2: torch.int16, 4: torch.int32}  # by item size: NumPy has no bfloat16, bits are bits


class Progress:
    """A file of rows: one line of facts, then each row's checksum and values.

    A separate thread writes the rows; only this thread waits for the device. A row that is cut off
    or damaged ends the file: it and all that follow are computed again.

    Attributes:
        known: What the network gave in the first rows, which the file held already, on the CPU.
    """

    def __init__(
        self,
        path: Path,
        facts: Mapping[str, Any],
        rows: range,
        shape: Sequence[int],
        dtype: torch.dtype,
        captured: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        """Read the rows of a file and continue it, or start a new one.

        Args:
            path: The file.
            facts: All that the rows depend on, as plain values. A file with other facts is
                replaced.
            rows: The rows that the run walks.
            shape: The shape of what the network returns, (2 batch or batch, channels, h, w).
            dtype: The dtype of what the network returns.
            captured: Name -> shape, of what its calls leave behind beside that, in float16.

        Raises:
            OSError: The file cannot be written.
        """
        self._path, self._rows = path, rows
        self._captured = dict(captured or {})
        parts = [(shape, dtype), *((it, torch.float16) for it in self._captured.values())]
        self._parts = [(torch.Size(sides), kind) for sides, kind in parts]
        kept = {name: list(sides) for name, sides in self._captured.items()}
        self._header = _header_of(
            {
                **facts,
                "shape": list(shape),
                "dtype": str(dtype),
                **({"captured": kept} if kept else {}),
            }
        )
        self._pool = ThreadPoolExecutor(1)
        self._writes: list[Future[None]] = []
        with naming(path):
            self.known = self._read()
            self._file = self._begin()

    def keep(self, steps: Iterable[Step]) -> Iterator[Step]:
        """Write the rows of a walk that the file does not hold yet.

        Args:
            steps: The walk's, from its first row on. What the network gave must stay unchanged;
                the device need not have computed it yet.

        Yields:
            The same steps.

        Raises:
            OSError: An earlier row could not be written.
        """
        known = set(self._rows[: len(self.known)])
        for step in steps:
            if step.row not in known:
                self._add(step.row, step.answer)
            yield step

    def _add(self, row: int, answer: Answer) -> None:
        """Queue one more row for writing."""
        self._raise_if_failed()
        ready, device = None, answer.returned.device
        if device.type == "cuda":
            ready = torch.cuda.Event()
            ready.record(torch.cuda.current_stream(device))
        self._writes.append(self._pool.submit(self._write, row, answer, ready))

    def close(self) -> None:
        """Wait until every row is written; remove a file without rows.

        Raises:
            OSError: One could not be written.
        """
        self._pool.shutdown()
        with naming(self._path):
            self._file.close()
        self._raise_if_failed()
        if self._path.exists() and self._path.stat().st_size == len(self._header):
            self._path.unlink()

    def discard(self) -> None:
        """Remove the file: the run is finished, or its rows are useless."""
        self._pool.shutdown(cancel_futures=True)
        self._writes.clear()
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Progress:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    @property
    def _row_bytes(self) -> int:
        """Return a row's size in the file."""
        return CHECKSUM_BYTES + sum(size.numel() * kind.itemsize for size, kind in self._parts)

    def _read(self) -> list[Answer]:
        """Read all whole rows of a file with these facts."""
        known: list[Answer] = []
        if not self._path.is_file():
            return known
        with self._path.open("rb") as file:
            if file.read(len(self._header)) != self._header:
                return known
            for row in self._rows:
                record = file.read(self._row_bytes)
                values = record[CHECKSUM_BYTES:]
                if record != _checksum(row, values) + values or len(record) < self._row_bytes:
                    break
                known.append(self._answer_of(bytearray(values)))
        return known

    def _answer_of(self, values: bytearray) -> Answer:
        """Turn a row's bytes into tensors."""
        tensors, offset = [], 0
        for size, kind in self._parts:
            count = size.numel()
            flat = torch.frombuffer(values, dtype=kind, count=count, offset=offset)
            tensors.append(flat.reshape(size))
            offset += count * kind.itemsize
        returned, *captured = tensors
        return Answer(returned, dict(zip(self._captured, captured, strict=True)))

    def _begin(self) -> BinaryIO:
        """Open the file for appending after its last whole row."""
        if not self.known:
            self._path.write_bytes(self._header)
        whole_bytes = len(self._header) + len(self.known) * self._row_bytes
        os.truncate(self._path, whole_bytes)
        return self._path.open("ab")

    def _write(self, row: int, answer: Answer, ready: torch.cuda.Event | None) -> None:
        """Write a row; the checksum tells if it was cut off."""
        parts = [answer.returned, *(answer.captured[name] for name in self._captured)]
        values = b"".join(_to_bytes(part, ready) for part in parts)
        self._file.write(_checksum(row, values) + values)
        self._file.flush()

    def _raise_if_failed(self) -> None:
        """Raise the first error of the writes that have ended."""
        while self._writes and self._writes[0].done():
            with naming(self._path):
                self._writes.pop(0).result()


def read_facts(path: Path) -> dict[str, Any]:
    """Read what the rows of a file depend on.

    Args:
        path: The file.

    Returns:
        The facts; empty if the file does not exist, holds no row, is damaged or has another
        version.
    """
    try:
        with path.open("rb") as file:
            facts = parse_json(file.readline(LARGEST_HEADER_BYTES), str(path))
            holds_rows = bool(file.read(1))
    except (OSError, UserError):
        return {}
    return facts if holds_rows and facts.get(VERSION_KEY) == FORMAT_VERSION else {}


def _header_of(facts: Mapping[str, Any]) -> bytes:
    """Write facts as the first line of a file."""
    return json.dumps({VERSION_KEY: FORMAT_VERSION, **facts}).encode() + b"\n"


def _checksum(row: int, values: bytes) -> bytes:
    """Return the CRC-32 of a row and its number, so that a row in another's place is noticed."""
    return zlib.crc32(values, row).to_bytes(CHECKSUM_BYTES, "little")


def _to_bytes(output: Tensor, ready: torch.cuda.Event | None) -> bytes:
    """Copy values to the host; on CUDA in a separate stream, as soon as they are computed."""
    if ready is not None:
        stream = torch.cuda.Stream(output.device)
        with torch.cuda.stream(stream):
            stream.wait_event(ready)
            output = output.cpu()
    # NumPy copies in this thread; torch would use all cores, which the UNet needs
    return output.cpu().view(CARRIERS[output.dtype.itemsize]).numpy().tobytes()
