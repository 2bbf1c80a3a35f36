"""The report of a version: pictures, and one page that shows them with the numbers.

May import data/, graph/ and evaluation/.
"""

from gnnrec_training.report.build import REPORT_STEPS, bias, build_report
from gnnrec_training.report.contents import Contents

__all__ = ["REPORT_STEPS", "Contents", "bias", "build_report"]
