"""The server of `watch`: a browser's presses -> runs; their steps -> every browser."""
