"""The page on clusters names tests that exist, and options that the commands have."""

import re

from command import invoke
from paths import ROOT

PAGE = (ROOT / "docs" / "clusters.md").read_text()


def test_every_test_that_the_page_names_exists():
    file, named = "", 0
    for path, test in re.findall(r"`(tests/[\w/]+\.py)?(?:::(test_\w+))?`", PAGE):
        file = path or file
        if not (path or test):
            continue
        named += 1
        assert (ROOT / file).is_file(), file
        assert not test or f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"
    assert named > 15


def test_every_option_of_a_launcher_that_the_page_names_exists():
    lines = re.findall(r"^mtlbench launch (\w+)(.*)$", PAGE, re.MULTILINE)
    assert {name for name, _ in lines} == {"slurm", "kuberay", "sky", "container"}
    for name, words in lines:
        known = invoke("launch", name, "--help").stdout
        assert all(option in known for option in re.findall(r"--\w+", words)), name
