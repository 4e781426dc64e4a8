"""Threads beside each other."""

import threading

import torch

from sdloop.machine.threads import keep_to_one_core


def team_in_a_thread(prepare=lambda: None):
    """Return the size of torch's team in a new thread."""
    found = []

    def look():
        prepare()
        torch.ones(100, 100) @ torch.ones(100, 100)
        found.append(torch.get_num_threads())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found[0]


def test_one_thread_keeps_to_one_core_and_others_to_theirs():
    before = torch.get_num_threads()
    torch.set_num_threads(3)  # whatever machine this is
    try:
        assert team_in_a_thread(keep_to_one_core) == 1
        assert torch.get_num_threads() == 3
        assert team_in_a_thread() == 3
    finally:
        torch.set_num_threads(before)
