"""What people see: tables, pages and pictures, each one value for terminal, Markdown and HTML."""

from axo.report.page import Page, Picture, Section
from axo.report.table import Table

__all__ = ["Page", "Picture", "Section", "Table"]
