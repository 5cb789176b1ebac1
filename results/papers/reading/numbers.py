"""The numbers of a table: what a cell prints, and which numbers before rounding it stands for."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

DASHES = "\u2212\u2010\u2011\u2012\u2013\u2014\u2015\ufe63\uff0d"
MISSING = {
    *("", "-", "--", "---", "n/a", "na", "n.a.", "n.a", "nan", "none", "null", "/", "\\", "x", "?", "oom", "tbd"),
    *("\u00d7", "\u2717", "\u2718", "\u2026", "...", ".", "\u00b7", "n.r.", "nr", "not reported"),
    *("baseline", "ref", "ref.", "reference"),
}
MARKS = "*\u2217\u2020\u2021\u00a7\u00b6\u2021#\u22c6\u2605\u2606\u25b3\u266f"  # stars and daggers of footnotes
SUPERSCRIPTS = str.maketrans(
    "0123456789+-()ni*",
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207d\u207e\u207f\u2071*",
)
_RAISED = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207d\u207e\u207f\u2071"
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\u061c\ufeff\u00ad]")
_THIN = re.compile(r"(?<=\d)[\u2009\u202f\u2005\u2006'](?=\d{3}(?!\d))")  # between thousands
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)\s*(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d{1,3}(?:\.\d{3})+,\d+|\d+(?:[.,]\d*)?|[.,]\d+)"
    r"(?:\s*(?:[eE]|(?:\u00d7|x|\\times)\s*10\^?\{?)(?P<power>[+-]?\d+)\}?)?"
)
_TAIL = re.compile(
    rf"\s*(?:[%\u2030\u00b0]|[{_RAISED}{re.escape(MARKS)}]|\u00b1.*|\+/-.*|\(.*\)|\[.*\]|\{{.*\}}|[\^_].*|[\u2191\u2193\u25b2\u25bc\u2b06\u2b07].*"
    r"|[A-Za-z\u00b5]{1,3}(?![A-Za-z\d])|[;:,)])*\s*$"
)
_LEADING = re.compile(rf"^[\s({{\[_~\u2248\u223c{_RAISED}{re.escape(MARKS)}]*(?:\^\S\s*)?")
MOST_POWER, MOST_DIGITS = 15, 18
_UP, _DOWN = "\u2191\u25b2\u2b06", "\u2193\u25bc\u2b07"


@dataclass(frozen=True)
class Number:
    """A number as a table prints it. The number before rounding lies in value +- half."""

    text: str  # sign and digits, without what separates thousands
    value: float
    half: float

    @property
    def decimals(self) -> int:
        return len(self.text.partition(".")[2])

    @property
    def low(self) -> float:
        return self.value - self.half

    @property
    def high(self) -> float:
        return self.value + self.half

    def negative(self) -> Number:
        """The number with the other sign."""
        text = self.text[1:] if self.text[0] in "+-" else self.text
        return Number(text if self.value < 0 else f"-{text}", -self.value, self.half)


def clean(text: str) -> str:
    """A text without marks of direction, letters of mathematical fonts, and spaces of unusual kinds."""
    text = _INVISIBLE.sub("", text)
    text = _THIN.sub("", text)
    text = "".join(_plain(character) for character in text)
    return " ".join(text.split())


def _plain(character: str) -> str:
    code = ord(character)
    if 0x1D400 <= code <= 0x1D7FF or 0xFF01 <= code <= 0xFF5E:
        return unicodedata.normalize("NFKC", character)
    if code > 127 and character.isdecimal():
        return str(unicodedata.decimal(character))
    return {
        "\u2206": "\u0394",
        "\u25b3": "\u0394",
        "\u00a0": " ",
        "\u2a2f": "\u00d7",
        "\u066b": ".",
        "\u066c": ",",
        "\ufe0e": "",
        "\ufe0f": "",
    }.get(character, character)


def number(text: str, *, arrows: bool = False) -> Number | None:
    """The number that a cell prints, with its spread, unit and marks left out; None if it prints none or several.

    arrows: whether an arrow before the number is its sign, as in a column of differences.
    """
    text = clean(text).replace("{,}", ",").replace("\u201a", ",")
    for dash in DASHES:
        text = text.replace(dash, "-")
    text = re.sub(r"^-{2,3}(?=[\d.])", "-", re.sub(r"^\*{1,2}|\*{1,2}$|^__|__$", "", text.strip()))
    start = _LEADING.match(text)
    text = text[start.end() :] if start else text
    sign = ""
    if text[:1] and text[0] in _UP + _DOWN:
        sign, text = ("-" if text[0] in _DOWN else "+") if arrows else "", text[1:].strip()
    found = _NUMBER.match(text)
    if not found or not _TAIL.match(text[found.end() :].replace("**", "")):
        return None
    digits = _point(found["digits"])
    power = int(found["power"] or 0)
    decimals = len(digits.partition(".")[2])
    sign = found["sign"] or sign
    if abs(power) > MOST_POWER or len(digits) > MOST_DIGITS:  # no score, and too far for a float
        return None
    value = float(f"{sign}{digits}e{power}")
    return Number(sign + digits, value, 0.5 * 10.0 ** (power - decimals))


def _point(digits: str) -> str:
    """Digits with a decimal point and nothing between thousands. 1,234 is a thousand; 0,625 and 37,5 have a comma."""
    if re.fullmatch(r"[1-9]\d{0,2}(,\d{3})+(\.\d*)?", digits):
        return digits.replace(",", "")
    if re.fullmatch(r"\d{1,3}(\.\d{3})+,\d+", digits):
        return digits.replace(".", "").replace(",", ".")
    return digits.replace(",", ".")


def missing(text: str) -> bool:
    """Whether a cell says that there is no number."""
    text = clean(text).strip(MARKS + "()[] ")
    for dash in DASHES:
        text = text.replace(dash, "-")
    return text.lower() in MISSING
