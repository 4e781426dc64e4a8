"""An imageio plugin for GIFs: each frame gets its own entry and palette.

Importing this module registers the plugin with imageio as "sdloop":

    import imageio.v3 as iio
    import sdloop.show.film.gif

    iio.imwrite("x.gif", frames, plugin="sdloop", duration=100)
"""

from collections.abc import Iterable, Sequence

import imageio.v3 as iio
import numpy as np
from imageio import RETURN_BYTES
from imageio.config import PluginConfig, known_plugins
from imageio.core.request import InitializationError, IOMode, Request
from imageio.core.v3_plugin_api import PluginV3
from numpy.typing import ArrayLike, NDArray

from sdloop.machine.files import AnyPath, as_path, replacing
from sdloop.machine.threads import Workers
from sdloop.show.film.gif_blocks import MOST, TRAILER, entry, header
from sdloop.show.film.gif_frames import Picture, checked, pictures_of, timed
from sdloop.show.film.palette import IndexedFrame, quantize

NAME = "sdloop"
THREADS_PER_CORE = 2  # quantising is half NumPy, half Python


class GifPlugin(PluginV3):
    """Writes GIFs for imageio; it does not read them.

    Unlike imageio's own writer it chooses a palette for each frame, keeps frames equal to the one
    before, and writes indexed frames unchanged. It reads frames one by one and compresses them in
    threads, so memory does not grow with their number.
    """

    _workers: Workers[tuple[Picture, int, int], bytes] | None = None  # None: not open
    _size: tuple[int, int] | None = None  # (height, width) of the first frame, enlarged

    def __init__(self, request: Request) -> None:
        """Accept a request from imageio.

        Raises:
            InitializationError: The request reads, or writes a file not named .gif.
        """
        super().__init__(request)
        if request.mode.io_mode is not IOMode.write:
            raise InitializationError(f"the plugin {NAME} writes GIFs but does not read them")
        if request.extension not in (None, ".gif"):
            raise InitializationError(f"the plugin {NAME} writes .gif, not {request.extension}")
        self._workers = Workers(_encode, THREADS_PER_CORE)

    def write(
        self,
        ndimage: Picture | ArrayLike | Iterable[Picture | ArrayLike],
        *,
        duration: float | Sequence[float] = 100,
        loop: int | None = 0,
        scale: int = 1,
        comment: str = "",
        is_batch: bool | None = None,
    ) -> bytes | None:
        """Add one or more frames.

        Args:
            ndimage: One picture: uint8 (H, W) grey, (H, W, 3) RGB, opaque (H, W, 4), or an
                IndexedFrame, which is written unchanged. Or several: an array with one more
                leading axis, a list, or an iterator, which is read one by one.
            duration: How long to show each frame, in milliseconds: one number, or one per frame;
                rounded to hundredths of a second, GIF's unit.
            loop: How often a viewer repeats the animation; 0: forever, None: never. The first
                call's value holds for the file.
            scale: Whole factor by which to enlarge pictures, without smoothing.
            comment: A text to keep in the file; the first call's holds.
            is_batch: Whether an array holds several pictures. None decides by shape: three axes
                are one picture if the last has length 1, 3 or 4.

        Returns:
            The file so far if imageio was asked for "<bytes>", else None.

        Raises:
            ValueError: The file is closed; there are no frames; the numbers of frames and
                durations differ; or GIF cannot hold a value, which the message names.
        """
        count = 0
        for picture, hundredths in timed(pictures_of(ndimage, is_batch), duration):
            self._add(checked(picture), hundredths, scale, loop, comment)
            count += 1
        if count == 0:
            raise ValueError("there are no frames")
        if self.request.raw_uri != RETURN_BYTES:
            return None
        self._store(self._open_workers().rest())
        return self.request.get_file().getvalue() + TRAILER

    def close(self) -> None:
        """Write the frames still being compressed, and finish the file if none failed."""
        try:
            if self._workers is not None and self._size is not None:
                self._store(self._workers.rest())
                self.request.get_file().write(TRAILER)
        finally:
            self._stop()
            super().close()

    def _add(
        self, picture: Picture, hundredths: int, scale: int, loop: int | None, comment: str
    ) -> None:
        """Start compressing a frame, and write those that are ready."""
        workers = self._open_workers()
        shape = picture.indices.shape if isinstance(picture, IndexedFrame) else picture.shape[:2]
        if not 1 <= scale <= MOST // max(shape):
            raise ValueError(f"scale {scale}: allowed for this frame: 1 to {MOST // max(shape)}")
        height, width = (side * scale for side in shape)
        if self._size is None:
            if loop is not None and not 0 <= loop <= MOST:
                raise ValueError(f"loop {loop}: allowed: 0 (forever) to {MOST}")
            self.request.get_file().write(header(width, height, loop, comment))
            self._size = height, width
        if self._size != (height, width):
            raise ValueError(
                f"a frame is {width} x {height} px, but the first is "
                f"{self._size[1]} x {self._size[0]} px"
            )
        self._store(workers.put((picture, hundredths, scale)))

    def _open_workers(self) -> Workers[tuple[Picture, int, int], bytes]:
        """Return the worker threads of the open file."""
        if self._workers is None:
            raise ValueError("the GIF is closed")
        return self._workers

    def _store(self, entries: Iterable[bytes]) -> None:
        """Write entries; after a failure, write no more."""
        try:
            for compressed in entries:
                self.request.get_file().write(compressed)
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        """Stop the worker threads."""
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.stop()


def write_gif(
    path: AnyPath,
    frames: Iterable[Picture],
    delays_ms: Sequence[int],
    scale: int = 1,
    comment: str = "",
) -> None:
    """Write a GIF that loops forever, whole or not at all.

    Args:
        path: The GIF file.
        frames: All of one size, indexed or uint8 (H, W, 3); read one by one.
        delays_ms: How long to show each frame, a multiple of 10; one per frame.
        scale: Whole factor by which to enlarge small pictures.
        comment: A text to keep in the file.

    Raises:
        ValueError: The numbers of frames and delays differ.
    """
    with (
        replacing(as_path(path, "path")) as temporary,
        temporary.open("wb") as file,
        iio.imopen(file, "w", plugin=GifPlugin) as gif,
    ):
        for frame, delay_ms in zip(frames, delays_ms, strict=True):
            gif.write(frame, duration=delay_ms, scale=scale, comment=comment)


def hold_last(count: int, delay_ms: int, hold_ms: int) -> list[int]:
    """Return one delay per frame, `hold_ms` for the last."""
    return [delay_ms] * (count - 1) + [hold_ms]


def enlarge(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Repeat each pixel `factor` times in both directions; (H, W) or (H, W, 3)."""
    if factor == 1:
        return image
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def _encode(job: tuple[Picture, int, int]) -> bytes:
    """Compress one frame, given as picture, hundredths of a second, and scale."""
    picture, hundredths, scale = job
    frame = picture if isinstance(picture, IndexedFrame) else quantize(picture)
    return entry(enlarge(frame.indices, scale), frame.palette, hundredths)


known_plugins[NAME] = PluginConfig(NAME, GifPlugin.__name__, __name__)
