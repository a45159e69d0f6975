"""Workbooks of text: the links workbook and the error report, a million rows in seconds."""
