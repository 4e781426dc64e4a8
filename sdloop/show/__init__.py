"""Turns arrays into pictures, measures and files; knows no network and no config."""
