"""Every colour of the stylesheet against every ground it may lie on (WCAG 2.2: 1.4.3 for text, 1.4.11 for what is not text)."""

import re
from collections.abc import Iterator

import pytest

from gateway.portal.templating import SHIPPED

THEME = (SHIPPED / "theme.css").read_text()
STYLE = re.sub(r"/\*.*?\*/", "", (SHIPPED / "style.css").read_text(), flags=re.S)
GROUNDS = ("ground", "raised", "tint")
ON_ACCENT = ("accent", "accent-held")
PAIRS = [(text, ground) for text in ("ink", "quiet", "accent", "problem") for ground in GROUNDS]
PAIRS += [("on-accent", ground) for ground in ON_ACCENT]


def colours(scheme: str) -> dict[str, str]:
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", part)) for part in THEME.split("@media"))
    return light if scheme == "light" else {**light, **dark}


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_formula_is_the_one_of_the_guideline() -> None:
    assert contrast("#000000", "#ffffff") == 21
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_can_be_read_on_its_ground(text: str, ground: str, scheme: str) -> None:
    assert contrast(colours(scheme)[text], colours(scheme)[ground]) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("line", ["edge", "accent", "problem", "ink"])
@pytest.mark.parametrize("ground", ["ground", "raised"])
def test_edges_of_fields_and_buttons_and_the_focus_can_be_seen(line: str, ground: str, scheme: str) -> None:
    assert contrast(colours(scheme)[line], colours(scheme)[ground]) >= 3


def test_every_colour_is_defined_for_light_and_for_dark() -> None:
    light, dark = (set(re.findall(r"--([a-z-]+):", part)) for part in THEME.split("@media"))
    assert light == dark == set(re.findall(r"var\(--([a-z-]+)\)", STYLE))


def rules() -> Iterator[tuple[str, dict[str, str]]]:
    for selector, body in re.findall(r"([^{};]+)\{([^{}]*)\}", STYLE):
        yield selector.strip(), dict(re.findall(r"([a-z-]+):\s*([^;]+);", body))


def test_the_stylesheet_has_no_colours_of_its_own() -> None:
    for selector, rule in rules():
        for name, value in rule.items():
            if "color" in name or name in ("background", "border", "outline", "box-shadow") or "border" in name:
                bare = re.sub(r"var\(--[a-z-]+\)", "", value)
                words = set(re.findall(r"[a-z-]+", re.sub(r"[\d.]+(?:rem|px|em)?", "", bare)))
                assert words <= {"solid", "transparent", "none", "inherit", "inset"}, (selector, name, value)
                assert "#" not in value
            assert name not in ("opacity", "filter", "mix-blend-mode"), selector  # they change a contrast unseen


def test_every_pair_that_the_stylesheet_makes_is_among_those_that_were_measured() -> None:
    grounds = {*GROUNDS, *ON_ACCENT}
    for selector, rule in rules():
        text = re.findall(r"var\(--([a-z-]+)\)", rule.get("color", ""))
        ground = re.findall(r"var\(--([a-z-]+)\)", rule.get("background", ""))
        assert set(ground) <= grounds, selector
        if text and ground:
            assert (text[0], ground[0]) in PAIRS, selector
        elif text:  # it lies on one of the three grounds
            assert all((text[0], possible) in PAIRS for possible in GROUNDS), selector
        elif ground:  # the text inside is ink, or sets its own
            assert ground[0] in GROUNDS, selector
