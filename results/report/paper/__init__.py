"""A report for a paper: tables in LaTeX, figures and BibTeX at the width of a template."""
