"""What `mkdocs build` calls: adds the pages that are made from the code, and the notebooks."""

from pathlib import Path
from typing import Any

import commands
import exit_codes
import measured
import notebooks
import parts_pages
import python_api
import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"


def made() -> dict[str, str]:
    """Address below docs/ -> Markdown, of every page that nobody writes."""
    return {
        **parts_pages.pages(),
        "methods/results.md": measured.FILE.read_text(encoding="utf-8"),
        "reference/command_line.md": commands.command_line(),
        "reference/experiment.md": reference.experiment(),
        "reference/sweep.md": reference.sweep(),
        "reference/scoring.md": reference.scoring(),
        "reference/python.md": python_api.use(),
        "reference/parts_api.md": python_api.parts(),
        "reference/exit_codes.md": exit_codes.exit_codes(),
        "changes.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    }


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """A line of the navigation that ends with `/` stands for all pages made of that folder."""
    addresses = made()
    config.nav = _filled(config.nav, sorted(addresses))
    config.extra["made"] = addresses
    return config


def _filled(nav: Any, addresses: list[str]) -> Any:
    match nav:
        case list():
            return [_filled(each, addresses) for each in nav]
        case dict():
            return {title: _filled(each, addresses) for title, each in nav.items()}
        case str() if nav.endswith("/"):
            return [{Path(a).stem: a} for a in addresses if a.startswith(nav)]
    return nav


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages, the notebooks and their figures, and those of our results."""
    for address, text in config.extra.pop("made").items():
        files.append(File.generated(config, address, content=text))
    for figure in sorted((CONFIGS / "results").iterdir()):
        address = f"methods/results/{figure.name}"
        files.append(File.generated(config, address, content=figure.read_bytes()))
    for notebook in [each for each in files if each.src_uri.endswith(".ipynb")]:
        address = Path(notebook.src_uri)
        text, figures = notebooks.converted(Path(str(notebook.abs_src_path)))
        files.append(File.generated(config, address.with_suffix(".md").as_posix(), content=text))
        for name, data in figures.items():
            figure_address = (address.parent / name).as_posix()
            files.append(File.generated(config, figure_address, content=data))
    return files
