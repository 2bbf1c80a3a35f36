"""The report inside a version: pictures, and one page that shows them with the numbers."""

from training.report.build import Contents, bias, build_report

__all__ = ["Contents", "bias", "build_report"]
