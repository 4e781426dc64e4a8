"""What the formats can hold and a strip can be drawn with, asked before any work is done."""

from collections.abc import Sequence

from sdloop.errors import UserError

# of a side in pixels: GIF has 16 bits, VP8 has 14, x264 opens up to here and no further (measured)
LONGEST_SIDE_PX = {"gif": 65_535, "webp": 16_383, "mp4": 16_384}
STRIP_PIXELS = 2**28  # about a gigabyte while it is drawn
FILM_FRAMES = 100_000  # a film repeats what is shown longer


def fitting_scale(
    scale: int | None,
    preferred: int,
    formats: Sequence[str],
    size: tuple[int, int],
    stages: int,
) -> int:
    """Choose the factor by which pictures are enlarged, or check the one that was asked for.

    Args:
        scale: What was asked for; None takes the preferred one, or the largest that fits.
        preferred: See `scale`.
        formats: Of the animations.
        size: (height, width) of the run's pictures.
        stages: How many the strip shows.

    Returns:
        The factor.

    Raises:
        UserError: A format cannot hold the enlarged pictures, or the strip would take gigabytes.
    """
    height, width = size
    wanted = scale or preferred
    by_strip = int((STRIP_PIXELS / (2 * stages * height * width)) ** 0.5)
    # evolution shows two pictures side by side; a film's odd sides are made even
    sides = {suffix: limit for suffix, limit in LONGEST_SIDE_PX.items() if suffix in formats}
    by_format = {suffix: limit // max(height, 2 * width) for suffix, limit in sides.items()}
    largest = max(1, min([by_strip, *by_format.values()]))
    for suffix, factor in by_format.items():
        if factor < (wanted if scale else 1):
            shown = f"{2 * width * (scale or 1)} x {height * (scale or 1)}"
            raise UserError(
                f"export.formats = {suffix}: evolution.{suffix} would have {shown} px with "
                f"export.scale {scale or 1}; the format holds {sides[suffix]} a side"
            )
    if scale and scale > largest:
        raise UserError(
            f"export.scale = {scale}: strip.png would have {stages} columns of {width * scale} x "
            f"{2 * height * scale} px; allowed: 1 to {largest}"
        )
    return min(wanted, largest)


def check_delays(formats: Sequence[str], frames: int, delay_ms: int, hold_ms: int) -> None:
    """Refuse delays that a film could only show by repeating frames beyond all measure.

    Args:
        formats: Of the animations.
        frames: How many there are.
        delay_ms: How long each is shown.
        hold_ms: How long the last one is.

    Raises:
        UserError: Says how many frames the film would have.
    """
    shown = ((frames - 1) * delay_ms + hold_ms) // min(delay_ms, hold_ms)
    if "mp4" in formats and shown > FILM_FRAMES:
        raise UserError(
            f"export.formats = mp4: with export.delay_ms {delay_ms} and export.hold_ms {hold_ms} "
            f"the film would have {shown} frames; allowed: {FILM_FRAMES}"
        )
