"""Animations: GIF with palettes, WebP, APNG, MP4."""
