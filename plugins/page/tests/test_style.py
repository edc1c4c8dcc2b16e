"""Can everybody read the page's style, and its maintainers too?"""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

SHEET = (files("trackyard_page") / "static/page.css").read_text(encoding="utf-8")
TEXTS = ("ink", "quiet", "accent", "good", "bad", "warn", "live", "still")
SERIES = range(8)


def variables(theme):
    """What a theme's blocks set; those of no theme are the light one's."""
    (found,) = re.findall(rf"(?:^|, )\[data-theme={theme}\] {{([^}}]*)}}", SHEET, re.MULTILINE)
    return dict(re.findall(r"--([\w-]+): (#\w+);", found))


def series(theme):
    start = r"\[data-theme=dark\] " if theme == "dark" else ""
    return [
        re.search(rf"^{start}\.s{number} {{ --series: (#\w+); }}$", SHEET, re.MULTILINE)[1]
        for number in SERIES
    ]


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_reckoned_as_wcag_does():
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_have_the_contrast_of_wcag_aa(theme):
    colours = variables(theme)
    pairs = [(text, ground) for text in TEXTS for ground in ("paper", "shade")]
    pairs += [("ink", "line")]  # the page that one is on, in the head
    found = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}

    assert {pair: round(of, 2) for pair, of in found.items() if of < 4.5} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_curves_and_borders_have_the_contrast_of_wcag_aa_for_graphics(theme):
    paper = variables(theme)["paper"]
    (border,) = set(re.findall(r"--pico-form-element-border-color: (#\w+);", SHEET))
    found = {colour: contrast(colour, paper) for colour in (*series(theme), border)}

    assert {colour: round(of, 2) for colour, of in found.items() if of < 3} == {}


def test_a_reader_whose_system_is_dark_gets_the_dark_theme_without_a_script():
    (found,) = re.findall(r":root:not\(\[data-theme\]\) {([^}]*)}", SHEET)

    assert dict(re.findall(r"--([\w-]+): (#\w+);", found)) == variables("dark")


def test_the_sheet_is_short_and_its_lines_too():
    lines = SHEET.splitlines()

    assert len(lines) <= 300
    assert [line for line in lines if len(line) > 122] == []
