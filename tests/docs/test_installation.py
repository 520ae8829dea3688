"""The gateway is installed from its clone: no index knows it, so a name that somebody may register there is never told."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_nobody_is_told_to_install_it_from_an_index():
    told = [path for folder in ("docs", "gateway", "config", "docker") for path in (ROOT / folder).rglob("*") if path.is_file()]
    texts = {path: path.read_text("utf-8") for path in (*told, ROOT / "README.md") if path.suffix in (".md", ".py", ".yaml", "")}
    assert len(texts) > 200
    assert [path for path, text in texts.items() if "token-gateway[" in text or "install token-gateway" in text] == []
