"""Templates, and whose: the operator's folder overrides the ones beside this file, file by file.

His `login.html` is used in place of ours, may extend ours as `gateway/login.html`, and finds his own `theme.css` beside ours.
A template of his that fails gives way to ours, and he is told: a page never becomes a 500.

It owns the compiled templates. Jinja costs 24 ms to import, so it is imported when the first page is wanted.
"""

import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

SHIPPED: Final = Path(__file__).with_name("templates")
MOST_PROBLEMS: Final = 20  # told, each once: a text may hold a value of a request


class Templates:
    """The templates of one gateway. `on_problem` is told `file:line: what` about a template of the operator's."""

    def __init__(self, folder: Path | None, on_problem: Callable[[str], None]) -> None:
        # per process
        self._folder = folder
        self._on_problem = on_problem
        self._made: tuple[Environment, ...] = ()
        self._told: set[str] = set()

    def render(self, name: str, values: dict[str, object]) -> str:
        """One page. A value that the template names and nobody passed is an error, every value is escaped."""
        *own, ours = self._environments()
        for environment in own:
            try:
                return environment.get_template(name).render(values)
            except Exception as error:  # an operator's template may raise anything
                self._tell(name, error)
        return ours.get_template(name).render(values)

    def compile(self, name: str) -> None:
        """Make the first rendering as fast as the later ones."""
        for environment in self._environments():
            try:
                environment.get_template(name)
            except Exception as error:
                self._tell(name, error)

    def _environments(self) -> "tuple[Environment, ...]":
        """The operator's, if he has a folder, then ours."""
        if not self._made:
            self._made = (_environment(),) if self._folder is None else (_environment(self._folder), _environment())
        return self._made

    def _tell(self, name: str, error: Exception) -> None:
        text = f"{self._place(error) or name}: {type(error).__name__}: {error}"
        if text not in self._told and len(self._told) < MOST_PROBLEMS:
            self._told.add(text)
            self._on_problem(text)

    def _place(self, error: Exception) -> str:
        """`file:line` in the operator's folder, where one can be named: Jinja puts its templates into the traceback."""
        if (line := getattr(error, "lineno", None)) is not None and (file := getattr(error, "filename", None)):
            return f"{file}:{line}"
        frames = traceback.extract_tb(error.__traceback__)
        return next((f"{frame.filename}:{frame.lineno}" for frame in reversed(frames) if self._is_own(frame.filename)), "")

    def _is_own(self, file: str) -> bool:
        return self._folder is not None and Path(file).is_relative_to(self._folder)


def _environment(*folders: Path) -> "Environment":
    from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined

    shipped = FileSystemLoader(SHIPPED)
    environment = Environment(
        loader=ChoiceLoader([*(FileSystemLoader(folder) for folder in folders), PrefixLoader({"gateway": shipped}), shipped]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    # NB: a stylesheet or a script is not a template: `{#` and `{{` mean something of their own there.
    environment.globals["file"] = lru_cache(lambda name: _source(environment, name))
    return environment


def _source(environment: "Environment", name: str) -> "Markup":
    from markupsafe import Markup

    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0].strip())  # noqa: S704  a file of ours or the operator's
