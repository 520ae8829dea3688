"""What a reader relies on: places, links between boards, colours, descriptions; and that the files are the generated ones."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from board_reading import BOARDS, FOLDER, panels

from gateway.audit.event import Action
from gateway.cli import main

ROOT = FOLDER.parents[1]


@pytest.mark.parametrize(("name", "board"), BOARDS.items())
def test_a_board_is_found_by_its_file_its_uid_and_the_other_boards(name: str, board: dict[str, Any]):
    assert board["uid"] == name
    assert board["tags"] == ["gateway"]
    assert [link["tags"] for link in board["links"]] == [["gateway"]]
    more = re.findall(r'"/d/([\w-]+)\?', str(board["panels"]).replace("'", '"'))
    assert set(more) <= set(BOARDS) - {name}


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
def test_no_panel_covers_another_or_leaves_the_grid(board: dict[str, Any]):
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in board["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
def test_every_line_of_a_row_is_filled(board: dict[str, Any]):
    """A gap at the end of a line is a panel that was taken away and not replaced."""
    for y in range(max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])):
        places = [
            panel["gridPos"]
            for panel in board["panels"]
            if panel["gridPos"]["y"] <= y < panel["gridPos"]["y"] + panel["gridPos"]["h"]
        ]
        assert sum(place["w"] for place in places) == 24, y


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())
def test_every_panel_says_what_good_looks_like_and_what_to_do_when_it_does_not(board: dict[str, Any]):
    for panel in panels(board):
        if panel["type"] != "text":
            assert re.fullmatch(r"\*\*Good:\*\* .+\.\n\n\*\*If not:\*\* .+\.", panel["description"]), panel["title"]


def test_a_panel_that_can_turn_red_has_a_runbook():
    """The table of alerts has one in each of its lines."""
    for board in BOARDS.values():
        for panel in panels(board):
            is_red = bool(re.search(r"\b(?:\w+-)*red\b", str(panel.get("fieldConfig"))))
            assert not is_red or panel["links"] or panel["title"] == "Firing alerts", panel["title"]


def test_a_series_that_nobody_named_beforehand_is_never_red():
    """Grafana's own palette has red in it; a shade of blue has not."""
    for board in BOARDS.values():
        for panel in panels(board):
            if panel["type"] == "timeseries":
                assert panel["fieldConfig"]["defaults"]["color"] == {"mode": "shades", "fixedColor": "blue"}


def test_the_commands_that_a_board_names_exist():
    told = json.dumps(
        [[panel.get("description"), panel["options"].get("content")] for board in BOARDS.values() for panel in panels(board)]
    )
    assert set(re.findall(r"`gateway (\w+)", told)) <= set(main.commands)
    assert set(re.findall(r"--action ([\w-]+)", told)) <= {action.value for action in Action}
    assert [path for path in re.findall(r"`((?:docs|grafana)/[\w/.-]+)`", told) if not (ROOT / path).exists()] == []


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[Path, str]:
    monkeypatch.syspath_prepend(str(ROOT))
    from grafana.build import files

    return files()


def test_the_committed_boards_are_what_is_generated(files: dict[Path, str]):
    for path, text in files.items():
        assert path.read_text() == text, f"{path.name} is out of date: make boards"
    assert set(FOLDER.iterdir()) == set(files)


def test_grafana_is_told_where_the_boards_are():
    """The folder of the provider is where docs/how-to/grafana.md and the compose file put them."""
    provisioning = ROOT / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "gateway.yaml").read_text())["providers"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert provider["type"] == "file"
    assert provider["options"]["path"] in (ROOT / "docs" / "how-to" / "grafana.md").read_text()
    assert (source["type"], source["access"], source["isDefault"]) == ("prometheus", "proxy", True)
    assert source["jsonData"]["timeInterval"]
