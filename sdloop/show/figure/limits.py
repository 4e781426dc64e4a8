"""What the formats and a strip can hold, checked before any work is done."""

from collections.abc import Sequence

from sdloop.machine.errors import UserError

# GIF has 16 bits for a side, VP8 has 14; x264 was seen to open up to this and no further
LONGEST_SIDE_PX = {"gif": 65_535, "webp": 16_383, "mp4": 16_384}
STRIP_PIXELS = 2**28  # drawing them takes about a gigabyte
FILM_FRAMES = 100_000  # a film repeats a frame to show it longer


def fitting_scale(
    scale: int | None,
    preferred: int,
    formats: Sequence[str],
    size: tuple[int, int],
    stages: int,
) -> int:
    """Choose the factor by which to enlarge pictures, or check the one that the config gives.

    Args:
        scale: The config's factor, or None to choose one.
        preferred: The factor to choose, unless only a smaller one fits.
        formats: The formats of the animations.
        size: (height, width) of the run's pictures, in pixels.
        stages: The number of stages in the strip.

    Returns:
        The factor.

    Raises:
        UserError: A format cannot hold the enlarged pictures, or drawing the strip would take
            gigabytes.
    """
    height, width = size
    wanted = scale or preferred
    by_strip = int((STRIP_PIXELS / (2 * stages * height * width)) ** 0.5)
    # evolution has two pictures side by side
    sides = {suffix: limit for suffix, limit in LONGEST_SIDE_PX.items() if suffix in formats}
    by_format = {suffix: limit // max(height, 2 * width) for suffix, limit in sides.items()}
    largest = max(1, min([by_strip, *by_format.values()]))
    for suffix, factor in by_format.items():
        if factor < (wanted if scale else 1):
            enlarged = f"{2 * width * (scale or 1)} x {height * (scale or 1)}"
            raise UserError(
                f"export.formats = {suffix}: evolution.{suffix} would have {enlarged} px with "
                f"export.scale {scale or 1}; the format holds up to {sides[suffix]} px a side"
            )
    if scale and scale > largest:
        raise UserError(
            f"export.scale = {scale}: strip.png would have {stages} columns of {width * scale} x "
            f"{2 * height * scale} px; allowed: 1 to {largest}"
        )
    return min(wanted, largest)


def check_delays(formats: Sequence[str], frames: int, delay_ms: int, hold_ms: int) -> None:
    """Refuse delays for which a film would have to repeat its frames far too often.

    Args:
        formats: The formats of the animations.
        frames: The number of frames.
        delay_ms: How long to show each frame.
        hold_ms: How long to show the last one.

    Raises:
        UserError: The film would have too many frames; the message says how many.
    """
    film_frames = ((frames - 1) * delay_ms + hold_ms) // min(delay_ms, hold_ms)
    if "mp4" in formats and film_frames > FILM_FRAMES:
        raise UserError(
            f"export.formats = mp4: with export.delay_ms {delay_ms} and export.hold_ms {hold_ms} "
            f"the film would have {film_frames} frames; allowed: {FILM_FRAMES}"
        )
