"""Render environment templates (Jinja2) to the lines of an environment file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mmstack_ops.domain.environment.dotenv import parse_assignment, quote
from mmstack_ops.domain.errors import RenderError
from mmstack_ops.domain.suggest import did_you_mean

_SUFFIX = ".env.j2"


@dataclass(frozen=True)
class TemplateContext:
    """The values that templates may use.

    Args:
        environment: the environment's name.
        log_level: DEBUG, INFO, WARN or ERROR.
        timezone: name of the environment's time zone.
        secrets: secret name → value, for ``secret('name')``.
        variables: values set by the operator or the schema, for ``value('NAME', 'default')``.
    """

    environment: str
    log_level: str
    timezone: str
    secrets: Mapping[str, str]
    variables: Mapping[str, str]


def families(folder: Path) -> list[str]:
    """Return the names of the templates in ``folder``: ``core``, ``master``, …"""
    return sorted(path.name.removesuffix(_SUFFIX) for path in folder.glob(f"*{_SUFFIX}"))


def render_lines(folder: Path, family: str, context: TemplateContext) -> list[str]:
    """Render one template to lines of ``NAME='value'``, comments included.

    Every ``{{ … }}`` is one complete value, quoted so that every reader gets the same value.

    Raises:
        RenderError: an unknown variable or secret, a syntax error, or a line that isn't an
            assignment; with the template's file and line.
    """
    import jinja2

    def finalize(value: Any) -> Any:
        if isinstance(value, jinja2.Undefined):
            return value  # StrictUndefined raises as soon as it is printed.
        try:
            return quote(_as_text(value))
        except ValueError as error:
            raise _UnwritableError(str(error)) from None

    environment = jinja2.Environment(  # noqa: S701 - the output is no HTML
        loader=jinja2.FileSystemLoader(folder, encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    globals_ = _globals(context)
    name = f"{family}{_SUFFIX}"
    try:
        text = environment.get_template(name, globals=globals_).render()
    except jinja2.TemplateNotFound as error:
        raise RenderError(
            f"there is no template {error.name} in {folder}"
            f"{did_you_mean(family, families(folder))}",
            remedy=f"use one of: {', '.join(families(folder))}",
        ) from None
    except jinja2.TemplateSyntaxError as error:
        place = f"{folder.name}/{error.name}:{error.lineno}"
        raise RenderError(f"{place}: {error.message}", remedy="correct the template") from None
    except jinja2.UndefinedError as error:
        place = _place(error.__traceback__, folder)
        unknown = _quoted_name(str(error))
        raise RenderError(
            f"{place}: unknown variable {unknown!r}{did_you_mean(unknown, globals_)}",
            why=str(error),
            remedy=f"use one of: {', '.join(globals_)}",
        ) from None
    except _UnknownSecretError as error:
        place = _place(error.__traceback__, folder)
        raise RenderError(
            f"{place}: unknown secret {error.name!r}{did_you_mean(error.name, context.secrets)}",
            remedy="declare it under security.secrets, then run `mmstack secrets generate`",
        ) from None
    except _UnwritableError as error:
        place = _place(error.__traceback__, folder)
        raise RenderError(
            f"{place}: the value{_assigned(place, folder)} can't be written: {error}",
            remedy="choose a value that environment files can carry",
        ) from None
    except Exception as error:
        # An expression may raise any exception. Its message may contain a value, its type doesn't.
        raise RenderError(
            f"{_place(error.__traceback__, folder)}: {type(error).__name__} in an expression",
            remedy="correct the template",
        ) from None
    return _checked(text, folder, name)


class _UnknownSecretError(Exception):
    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


class _UnwritableError(Exception):
    pass


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _globals(context: TemplateContext) -> dict[str, Any]:
    def secret(name: str) -> str:
        if name not in context.secrets:
            raise _UnknownSecretError(name)
        return context.secrets[name]

    def value(name: str, default: object) -> str:
        return context.variables.get(name, _as_text(default))

    functions: dict[str, Callable[..., str]] = {"secret": secret, "value": value}
    return {
        "environment": context.environment,
        "log_level": context.log_level,
        "timezone": context.timezone,
        "variables": context.variables,
        **functions,
    }


def _place(traceback: TracebackType | None, folder: Path) -> str:
    """Return ``folder/file:line`` of the innermost template in a traceback."""
    place = folder.name
    while traceback is not None:
        path = Path(traceback.tb_frame.f_code.co_filename)
        if path.name.endswith(_SUFFIX):
            place = f"{folder.name}/{path.name}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


def _assigned(place: str, folder: Path) -> str:
    """Return `` of NAME`` for the variable that a line of a template sets; empty if unknown."""
    path, _, number = place.rpartition(":")
    if not number.isdigit():
        return ""
    lines = (folder / Path(path).name).read_text(encoding="utf-8").split("\n")
    name, assigns, _ = lines[int(number) - 1].partition("=")
    return f" of {name.strip()}" if assigns and name.strip().isidentifier() else ""


def _quoted_name(message: str) -> str:
    return message.split("'")[1] if message.count("'") >= 2 else message


def _checked(text: str, folder: Path, name: str) -> list[str]:
    lines = text.split("\n")
    seen: set[str] = set()
    for line in lines:
        try:
            parsed = parse_assignment(line)
            if parsed is not None and parsed[0] in seen:
                raise ValueError(f"{parsed[0]} is set a second time")
        except ValueError as error:
            place = _find_line(line, folder, name)
            raise RenderError(
                f"{place}: {error}",
                remedy="write NAME={{ one expression }}; join texts with ~ inside the braces",
            ) from None
        if parsed is not None:
            seen.add(parsed[0])
    return lines


def _find_line(line: str, folder: Path, name: str) -> str:
    """Return the last place in the templates where ``line``'s variable is set.

    Line numbers of the rendered text differ from those of the templates, mainly by includes.
    """
    target = line.partition("=")[0].strip()
    place = f"{folder.name}/{name}"
    for family in families(folder):
        path = folder / f"{family}{_SUFFIX}"
        for number, text in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if target and text.partition("=")[0].strip() == target:
                place = f"{folder.name}/{path.name}:{number}"
    return place
