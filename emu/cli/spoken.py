"""Words that were typed with nothing in them: a variable of a shell that is not set, as a rule."""

from __future__ import annotations

from typing import Any, ClassVar

from typer.core import TyperCommand

from emu.cli import output


class Spoken(TyperCommand):
    """A verb whose options and arguments, where they are given, say something."""

    any_texts: ClassVar[frozenset[str]] = frozenset()
    """Parameters whose value is anybody's text: an empty one is one of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        left = super().parse_args(ctx, list(args))
        if not ctx.resilient_parsing:  # a shell that completes
            typed, _, _ = self.make_parser(ctx).parse_args(args=list(args))
            each: Any
            for each in self.params:
                if each.name not in self.any_texts and _is_blank(typed.get(each.name)):
                    flag = each.param_type_name == "option"
                    name = max(each.opts, key=len) if flag else each.display_name_raw
                    output.fail(f"{name}: nothing is said; write a value", output.USAGE)
        return left


def spoken(*any_texts: str) -> type[Spoken]:
    """A verb whose parameters of these names may be empty texts."""
    return type("Spoken", (Spoken,), {"any_texts": frozenset(any_texts)})


def _is_blank(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_is_blank, value))
    return isinstance(value, str) and not value.strip()
