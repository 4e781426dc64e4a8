"""Pictures -> an MP4 film that plays in a browser: H.264, 4:2:0, its index at the front.

Needs PyAV, which comes with `sdloop[mp4]`.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdloop.machine.files import replacing
from sdloop.show.film.gif import enlarge

RATE_FACTOR = "16"  # x264's crf; 18 is said to look lossless
BT709, LIMITED_RANGE = 1, 1  # named in the file, or players would guess the colours by the size


def write_mp4(
    path: Path, images: Iterable[NDArray[np.uint8]], delays_ms: Sequence[int], scale: int = 1
) -> None:
    """Write a film.

    Args:
        path: The MP4 file.
        images: (H, W, 3), uint8, all of one size; an odd side is made even by its last line.
        delays_ms: How long each frame is shown; one a frame. The film has the rate of the shortest
            and repeats what is shown longer.
        scale: Whole factor by which small pictures are enlarged.

    Raises:
        ValueError: There are not as many frames as delays.
    """
    import av

    shortest_ms = min(delays_ms)
    with (
        replacing(path) as temporary,
        av.open(str(temporary), "w", "mp4", options={"movflags": "+faststart"}) as film,
    ):
        stream = film.add_stream("libx264", rate=Fraction(1000, shortest_ms))
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": RATE_FACTOR}
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = LIMITED_RANGE
        for number, (image, delay_ms) in enumerate(zip(images, delays_ms, strict=True)):
            picture = _even(enlarge(image, scale))
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED_RANGE
            )
            for _ in range(round(delay_ms / shortest_ms)):
                frame.pts = None  # the next one
                film.mux(stream.encode(frame))
        film.mux(stream.encode())


def _even(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the last row or column of a picture where their number is odd: 4:2:0 needs pairs."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
