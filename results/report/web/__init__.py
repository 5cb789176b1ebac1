"""The pages for a browser: what a page embeds, and how it is rendered."""
