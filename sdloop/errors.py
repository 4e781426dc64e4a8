"""The one kind of error that is the user's to mend: shown as one line, exit code 2."""


class UserError(Exception):
    """A wrong key, value, file, model or device: says what was given and what is allowed."""
