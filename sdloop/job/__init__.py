"""One run, from its config to its folder, and many; the only room that knows the config."""
