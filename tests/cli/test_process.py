"""Signals that end a command."""

import os
import signal

from sdloop.cli.process import exit_code_of


def test_a_plain_interrupt_that_a_library_raises_for_ours_is_ours(capsys):
    """Ray's wait does this: it notices the handler's exception and raises KeyboardInterrupt."""

    def command():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None

    assert exit_code_of(command) == 143
    assert "run the same command again to carry on" in capsys.readouterr().err
