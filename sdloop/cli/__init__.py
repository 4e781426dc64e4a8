"""The process: arguments, terminal, signals, exit codes; listens to what the library tells."""
