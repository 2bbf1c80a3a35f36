"""The report inside a version: pictures, and one page that shows them with the numbers."""

from training.report.build import REPORT_STEPS, Contents, bias, build_report

__all__ = ["REPORT_STEPS", "Contents", "bias", "build_report"]
