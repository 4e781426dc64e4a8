"""Arrays -> pictures, measures, files: knows no network and no config."""
