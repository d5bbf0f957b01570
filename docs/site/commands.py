"""The command reference, out of the parser that the command itself uses."""

from __future__ import annotations

import argparse
import inspect

from bitkiln.frontend.arguments import parser

from .markdown import cell, table


def page() -> str:
    """Return a section for each verb: what it does, its usage, arguments and options."""
    (verbs,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return "\n\n".join(_verb(name, verb) for name, verb in verbs.choices.items())


def _verb(name: str, verb: argparse.ArgumentParser) -> str:
    actions = [action for action in verb._actions if not isinstance(action, argparse._HelpAction)]
    positional = [action for action in actions if not action.option_strings]
    options = [action for action in actions if action.option_strings]
    parts = [f"## `bitkiln {name}`", verb.description or "", f"    {_example(verb)}"]
    if positional:
        parts.append(table(("argument", "what"), [(f"`{_name(action)}`", _help(action)) for action in positional]))
    parts.append(table(("option", "what"), [(f"`{_name(action)}`", _help(action)) for action in options]))
    return "\n\n".join(parts)


def _example(verb: argparse.ArgumentParser) -> str:
    return inspect.cleandoc(verb.epilog or "").removeprefix("example: ")


def _name(action: argparse.Action) -> str:
    """Return how the argument is written: `-o, --output FILE`."""
    if not action.option_strings:
        return str(action.metavar or action.dest)
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return ", ".join(action.option_strings) + value


def _help(action: argparse.Action) -> str:
    choices = f" One of {', '.join(f'`{choice}`' for choice in action.choices)}." if action.choices else ""
    return cell((action.help or "").rstrip(".") + ("." if choices and action.help else "")) + choices
