"""Animations: palettes, GIF, and what other formats hold."""
