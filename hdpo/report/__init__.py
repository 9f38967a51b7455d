"""From verdicts to pages: tables, figures, statistics, the PDF report and the web page."""
