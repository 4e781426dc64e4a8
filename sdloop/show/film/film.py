"""Writes animations as WebP, APNG and MP4.

PyAV encodes MP4; it comes with `sdloop[mp4]`. For WebP and APNG, Pillow compresses each frame as a
separate picture, in threads, and this module joins them: Pillow's animation encoders hold all
pictures in memory, use one thread, and drop equal frames (in WebP, nearly equal ones too).
Formats: RFC 9649 (WebP); PNG, third edition (W3C, 2025).
"""

import io
import struct
import zlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdloop.machine.files import replacing
from sdloop.machine.threads import in_threads
from sdloop.show.comment import MP4_TAG, PNG_KEYWORD, exif_of
from sdloop.show.film.gif import enlarge

WEBP_QUALITY, WEBP_EFFORT = 90, 2
LOSSLESS_EFFORT = 50  # WebP's `quality` when lossless
RIFF_BYTES = 12  # "RIFF", size, "WEBP"
ANIMATED, COMMENTED, REPLACES = 0x02, 0x08, 0x02  # two flags of the WebP file; one of a frame
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_HEADER, PNG_SIZE = slice(16, 29), slice(16, 24)  # IHDR's payload; width and height in it
RATE_FACTOR = "16"  # x264's crf; 18 is said to look lossless
BT709, LIMITED_RANGE = 1, 1  # stated in the file, or players guess them from the size

Pictures = Iterable[NDArray[np.uint8]]


def write_webp(
    path: Path,
    images: Pictures,
    delays_ms: Sequence[int],
    scale: int = 1,
    comment: str = "",
    lossless: bool = False,
) -> None:
    """Write an animated WebP that loops forever, one entry per frame.

    Args:
        path: The WebP file.
        images: (H, W, 3), uint8, all of one size; read one by one.
        delays_ms: How long to show each frame; one per frame.
        scale: Whole factor by which to enlarge small pictures.
        comment: A text to keep in the file.
        lossless: Keep every pixel exactly.

    Raises:
        ValueError: The numbers of frames and delays differ.
    """
    stills = in_threads(partial(_webp_still, scale=scale, lossless=lossless), images)
    with replacing(path) as temporary, temporary.open("wb") as file:
        for number, ((size, still), delay_ms) in enumerate(zip(stills, delays_ms, strict=True)):
            if number == 0:
                file.write(_riff_head(0))
                flags = ANIMATED | (COMMENTED if comment else 0)
                file.write(_riff_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size))
                file.write(_riff_chunk(b"ANIM", struct.pack("<IH", 0, 0)))  # background; 0: forever
            control = bytes(6) + size + _int24(delay_ms) + bytes([REPLACES])
            file.write(_riff_chunk(b"ANMF", control + still))
        if comment:
            file.write(_riff_chunk(b"EXIF", exif_of(comment)))
        size_bytes = file.tell()
        file.seek(0)
        file.write(_riff_head(size_bytes))


def write_apng(
    path: Path,
    images: Pictures,
    delays_ms: Sequence[int],
    scale: int = 1,
    comment: str = "",
) -> None:
    """Write an animated PNG that loops forever, lossless, one entry per frame.

    Args:
        path: The file, usually named `.apng` or `.png`.
        images: (H, W, 3), uint8, all of one size; read one by one.
        delays_ms: How long to show each frame, a multiple of 10; one per frame.
        scale: Whole factor by which to enlarge small pictures.
        comment: A text to keep in the file.

    Raises:
        ValueError: The numbers of frames and delays differ.
    """
    stills = in_threads(partial(_png_still, scale=scale), images)
    number = count()  # numbers the animation chunks
    with replacing(path) as temporary, temporary.open("wb") as file:
        for frame, (still, delay_ms) in enumerate(zip(stills, delays_ms, strict=True)):
            if frame == 0:
                file.write(PNG_SIGNATURE + _png_chunk(b"IHDR", still[PNG_HEADER]))
                if comment:
                    file.write(_png_chunk(b"iTXt", _png_text(comment)))
                file.write(_png_chunk(b"acTL", struct.pack(">II", len(delays_ms), 0)))  # forever
            control = (next(number), still[PNG_SIZE], delay_ms // 10, 100, 0, 0)
            file.write(_png_chunk(b"fcTL", struct.pack(">I8s8xHHBB", *control)))
            data = _png_data(still)
            if frame == 0:
                file.write(_png_chunk(b"IDAT", data))
            else:
                file.write(_png_chunk(b"fdAT", struct.pack(">I", next(number)) + data))
        file.write(_png_chunk(b"IEND", b""))


def write_mp4(
    path: Path,
    images: Pictures,
    delays_ms: Sequence[int],
    scale: int = 1,
    comment: str = "",
) -> None:
    """Write an MP4 that plays in a browser: H.264, 4:2:0, index at the front.

    Args:
        path: The MP4 file.
        images: (H, W, 3), uint8, all of one size; an odd side gets its last line repeated.
        delays_ms: How long to show each frame; one per frame. The shortest sets the frame rate;
            frames shown longer are repeated.
        scale: Whole factor by which to enlarge small pictures.
        comment: A text to keep in the file.

    Raises:
        ValueError: The numbers of frames and delays differ.
    """
    import av

    shortest_ms = min(delays_ms)
    with (
        replacing(path) as temporary,
        av.open(str(temporary), "w", "mp4", options={"movflags": "+faststart"}) as film,
    ):
        if comment:
            film.metadata[MP4_TAG] = comment
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
                frame.pts = None  # the encoder numbers it
                film.mux(stream.encode(frame))
        film.mux(stream.encode())


def _webp_still(picture: NDArray[np.uint8], scale: int, lossless: bool) -> tuple[bytes, bytes]:
    """Compress one frame; return its size as WebP writes it, and its chunks."""
    buffer = io.BytesIO()
    image = Image.fromarray(enlarge(picture, scale))
    quality = LOSSLESS_EFFORT if lossless else WEBP_QUALITY
    image.save(buffer, "WEBP", lossless=lossless, quality=quality, method=WEBP_EFFORT)
    size = _int24(image.width - 1) + _int24(image.height - 1)
    return size, buffer.getvalue()[RIFF_BYTES:]


def _riff_head(file_bytes: int) -> bytes:
    """Return a WebP file's RIFF header; its size field excludes the first 8 bytes."""
    return b"RIFF" + struct.pack("<I", max(0, file_bytes - 8)) + b"WEBP"


def _riff_chunk(name: bytes, payload: bytes) -> bytes:
    """Wrap a payload in a chunk, padded to an even length."""
    return name + struct.pack("<I", len(payload)) + payload + bytes(len(payload) % 2)


def _int24(value: int) -> bytes:
    """Encode as three bytes, little-endian."""
    return value.to_bytes(3, "little")


def _png_still(picture: NDArray[np.uint8], scale: int) -> bytes:
    """Compress one frame as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(enlarge(picture, scale)).save(buffer, "PNG")
    return buffer.getvalue()


def _png_data(still: bytes) -> bytes:
    """Join the payloads of a PNG file's IDAT chunks."""
    data, at = b"", len(PNG_SIGNATURE)
    while at < len(still):
        (length,) = struct.unpack(">I", still[at : at + 4])
        if still[at + 4 : at + 8] == b"IDAT":
            data += still[at + 8 : at + 8 + length]
        at += length + 12
    return data


def _png_text(comment: str) -> bytes:
    """Return the payload of a text chunk: keyword, no compression, no language, the text."""
    return PNG_KEYWORD.encode() + bytes(5) + comment.encode()


def _png_chunk(name: bytes, payload: bytes) -> bytes:
    """Wrap a payload in a chunk."""
    checksum = struct.pack(">I", zlib.crc32(name + payload))
    return struct.pack(">I", len(payload)) + name + payload + checksum


def _even(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the last row or column where a side is odd: 4:2:0 needs even sides."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
