"""Reading: printed tables as people have them (LaTeX, Markdown, HTML, CSV, the text of a PDF) become grids of cells."""
