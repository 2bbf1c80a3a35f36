import threading
from concurrent.futures import CancelledError

import pytest

from gnnrec_server.process.threads import OneThread
from tests.server.waiting import until


def test_one_thing_is_done_after_another_in_one_thread() -> None:
    begun: list[str] = []
    thread = OneThread("it", lambda: begun.append("begun"))
    done = [thread.submit(threading.get_ident) for _ in range(5)]
    assert len({each.result(10) for each in done}) == 1
    assert begun == ["begun"]
    failed = thread.submit(int, "no number")
    with pytest.raises(ValueError, match="no number"):
        failed.result(10)
    thread.shutdown()
    with pytest.raises(RuntimeError, match="'it' is to end"):
        thread.submit(int)


def test_what_waits_behind_a_thread_that_hangs_is_done_by_another() -> None:
    thread, go_on = OneThread("it"), threading.Event()
    hangs = thread.submit(go_on.wait, 60)
    until(hangs.running)
    waiting = [thread.submit(threading.get_ident) for _ in range(3)]
    thread.leave_behind()
    assert len({each.result(10) for each in waiting}) == 1
    assert not hangs.done()
    assert thread.submit(int, "7").result(10) == 7
    go_on.set()
    assert hangs.result(10)
    thread.shutdown()


def test_to_end_is_not_to_wait_for_what_hangs(caplog: pytest.LogCaptureFixture) -> None:
    thread, go_on = OneThread("it"), threading.Event()
    hangs = thread.submit(go_on.wait, 60)
    until(hangs.running)
    waiting = thread.submit(int)
    thread.shutdown(cancel_futures=True)
    with pytest.raises(CancelledError):
        waiting.result(10)
    assert caplog.messages == ["the thread 'it' does not end and is left behind"]
    go_on.set()
    assert hangs.result(10)
