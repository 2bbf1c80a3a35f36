import pytest

from gnnrec_server.errors import Overloaded
from gnnrec_server.load.admission import Admission
from gnnrec_server.load.unread import UnreadAnswers
from gnnrec_server.load.waiting import WaitingRule
from tests.server.waiting import Clock


@pytest.fixture
def waiting() -> WaitingRule:
    return WaitingRule(3.5)


def test_admission_counts_who_is_inside(waiting: WaitingRule) -> None:
    admission = Admission(2, waiting, UnreadAnswers(1, 1.0))
    admission.enter()
    admission.enter()
    with pytest.raises(Overloaded):
        admission.enter()
    admission.leave()
    admission.enter()


def test_shedding_is_logged_once_in_a_while(
    waiting: WaitingRule, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    admission = Admission(1, waiting, UnreadAnswers(1, 1.0), clock)
    for _ in range(5):
        admission.note_refusal()
    clock.now += 11.0
    admission.note_refusal()
    said = [record.getMessage() for record in caplog.records]
    assert [text.split()[1] for text in said] == ["1", "5"]
