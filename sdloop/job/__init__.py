"""One run: from its config to its folder; the only room that knows the config."""
