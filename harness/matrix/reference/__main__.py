"""Write what is generated and committed; a test fails where it is not up to date.

python -m mtlbench.harness.matrix.reference
"""

from pathlib import Path

from mtlbench.harness.matrix.reference import pages, schema

ROOT = Path(__file__).resolve().parents[3]

if __name__ == "__main__":
    if not (ROOT / "docs").is_dir():
        raise SystemExit(
            f"{ROOT} has no folder docs; call this where the project is checked out and installed --editable"
        )
    for file, text in {**schema.files(), **pages.files()}.items():
        (ROOT / file).write_text(text)
        print(ROOT / file)
