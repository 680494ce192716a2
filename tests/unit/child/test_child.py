"""What the processes of tasks are forked from."""

from types import SimpleNamespace

import pytest

from tinymlaas.contract.errors import CompilerCrashed
from workers import child


def test_a_fork_server_that_gives_no_child_is_no_traceback() -> None:
    def start() -> None:
        raise EOFError("unexpected EOF")  # what multiprocessing makes of it

    with pytest.raises(CompilerCrashed, match="too little memory"):
        child.launch(SimpleNamespace(start=start))
