import pytest

from gnnrec_server.errors import Overloaded
from gnnrec_server.load.admission import Admission
from gnnrec_server.load.unread import UnreadAnswers
from gnnrec_server.load.waiting import WaitingRule
from tests.server.waiting import Clock


@pytest.fixture
def patience() -> WaitingRule:
    return WaitingRule(3.5)


def test_a_wait_is_judged_by_what_one_more_costs() -> None:
    """However few are answered at a time, those who wait will be answered together."""
    patience = WaitingRule(3.5)
    for _ in range(20):
        patience.learn(1.1, 1)
        patience.learn(1.2, 2)
    patience.queued = 10
    assert patience.expected_wait_s == pytest.approx(1.0)
    patience.check_coming(left_s=1.1)
    with pytest.raises(Overloaded):
        patience.check_coming(left_s=0.9)


def test_admission_counts_who_is_inside(patience: WaitingRule) -> None:
    admission = Admission(2, patience, UnreadAnswers(1, 1.0))
    admission.enter()
    admission.enter()
    with pytest.raises(Overloaded):
        admission.enter()
    admission.leave()
    admission.enter()


def test_shedding_is_logged_once_in_a_while(
    patience: WaitingRule, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    admission = Admission(1, patience, UnreadAnswers(1, 1.0), clock)
    for _ in range(5):
        admission.note_refusal()
    clock.now += 11.0
    admission.note_refusal()
    said = [record.getMessage() for record in caplog.records]
    assert [text.split()[1] for text in said] == ["1", "5"]
