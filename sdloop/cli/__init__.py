"""The process: arguments, terminal, signals, exit codes; listens to the library's events."""
