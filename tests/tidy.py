"""The house rules that ruff and mypy do not know, read off the syntax trees of a source folder.

`problems(root)` names every breach as `path:line: what`. Which rules the house has is for
test_tidy.py to prove, by planting a breach of each.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

ROOMS: Final = ("emu", "nodes", "protocols")
MAX_FILE_LINES: Final = 500
MAX_FUNCTION_LINES: Final = 70
MAX_OPENING_LINES: Final = 5
MAX_TOP_FILES: Final = 14
"""Of a room, beside its packages: a family of several files has a package."""
HOT_FUNCTIONS: Final[Mapping[str, str]] = {}
"""File -> the one function of that tier that may be longer than the cap; its profile says why."""
PURE_MODULES: Final = frozenset({
    "__future__", "array", "binascii", "bisect", "collections", "contextlib", "contextvars", "copy",
    "dataclasses", "enum", "errno", "fractions", "functools", "hashlib", "heapq", "html", "http",
    "inspect", "ipaddress", "itertools", "json", "math", "operator", "re", "statistics", "string",
    "struct", "textwrap", "types", "typing", "unicodedata", "urllib", "zlib",
    "apsw", "dns", "msgpack", "xxhash",
})  # fmt: skip
"""What nodes/ and protocols/ may import beside each other: no clock, socket, file or thread."""
ALSO_ALLOWED: Final[Mapping[str, tuple[str, ...]]] = {
    "nodes": ("random", "trio"),
    "nodes/site/app.py": ("importlib",),
    "nodes/wire/http_server.py": ("email",),  # writes a date that it is given
}
REAL_TIME: Final = frozenset({
    "current_time", "fail_after", "fail_at", "move_on_after", "move_on_at", "open_file",
    "open_process", "open_tcp_listeners", "open_tcp_stream", "run_process", "serve_tcp", "sleep",
    "sleep_until", "socket", "to_thread", "from_thread", "Path", "open_unix_socket",
})  # fmt: skip
"""Of trio: what looks at real time, sockets, files or threads. nodes/parts/timing.py has the
node's own."""
BUILTINS_WITH_REACH: Final = ("open", "input", "exec", "eval", "breakpoint", "__import__")
HASH_ORDERED: Final = ("set", "frozenset")
CONTAINERS: Final = ("dict", "list", "set", "bytearray", "deque", "defaultdict", "OrderedDict",
                     "Counter")  # fmt: skip
ENTRY_POINTS: Final = (
    "emu.__main__", "emu.chaos", "emu.processes.child", "emu.pytest_plugin",
)  # fmt: skip
KINDS: Final = "nodes.kinds"
RECORD: Final = "nodes.kind"
MADE_UP_FILES: Final = ("emu/children.py", "tests/test_tidy.py")
"""Where a file that is named is somebody else's, or none."""
OPEN_NODES: Final = (
    "base", "checking", "history", "kind", "kinds", "metrics", "operations", "parts", "wire",
)  # fmt: skip
"""Of nodes/: what emu/ may import. The rest are families, of which emu/ asks their Kind."""
FAMILY_ROOMS: Final = ("emu/operations/", "emu/cli/sql")
"""Of emu/: what may know one family. (`emu sql` is a shell of that language.)"""
OTHER_MEANINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "emu/checks/": ("kv", "queue"),
    "emu/machine/context.py": ("kv",),
    "emu/machine/private_trio.py": ("queue",),
    "emu/observe/messages.py": ("dns",),
    "emu/processes/history.py": ("kv",),
}
"""Where -> a kind's word that is something else there: a model of histories, a protocol."""
RECORD_KEYS: Final = ("clients",)
"""Words of kinds that are keys of what is told of a run, too."""
SAME_PROGRAM: Final = (("nodes.web", "nodes.sql.database"),)
"""(tier, what it may contain): a web server without a database tier runs the engine in itself."""


@dataclass(frozen=True)
class Module:
    """One source file, parsed. `path` is relative to the root, with slashes."""

    path: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """The tree, walked once for all rules: a walk costs more than most rules."""
        return tuple(ast.walk(self.tree))

    @property
    def room(self) -> str:
        return self.path.partition("/")[0]

    @property
    def name(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def inner(self) -> bool:
        """Whether it sees the world only through a Context."""
        return self.room in ("nodes", "protocols")

    def at(self, node: ast.AST, what: str) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {what}"

    def imports(self) -> Iterator[tuple[ast.stmt, str, tuple[str, ...]]]:
        """Each import: the statement, the module, and the names taken from it (if any)."""
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield node, alias.name, ()
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node, node.module, tuple(alias.name for alias in node.names)


def read(root: Path, rooms: tuple[str, ...] = ROOMS) -> list[Module]:
    """Every module of the rooms, in order of their paths."""
    files = sorted(file for room in rooms for file in (root / room).rglob("*.py"))
    return [Module(file.relative_to(root).as_posix(), file.read_text("utf-8")) for file in files]


def problems(root: Path) -> list[str]:
    """Every breach of a rule in the tree below `root`."""
    modules = read(root)
    found = [line for module in modules for rule in RULES for line in rule(module)]
    tests = read(root, ("tests",))
    found += [line for test in tests for rule in (_length, _opening) for line in rule(test)]
    whole = (_top_files, _dead_modules, _circles, _tiers_apart, _families_unnamed)
    found += [line for rule in whole for line in rule(modules)]
    return found + list(_named_files(root, [*modules, *tests]))


# --- size and prose --------------------------------------------------------------------------


def _length(module: Module) -> Iterator[str]:
    lines = module.source.count("\n")
    if lines > MAX_FILE_LINES:
        yield f"{module.path}:1: {lines} lines; the cap is {MAX_FILE_LINES}: split it"
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > MAX_FUNCTION_LINES and HOT_FUNCTIONS.get(module.path) != node.name:
                yield module.at(node, f"{node.name} has {size} lines; the cap is 70")


def _opening(module: Module) -> Iterator[str]:
    """A module opens with one to five lines; a protocol may list its words below them."""
    if not module.source.strip():
        return
    text = ast.get_docstring(module.tree) or ""
    paragraphs = [each.splitlines() for each in text.split("\n\n")]
    counted = paragraphs[:1] if module.room == "protocols" else paragraphs
    size = sum(len(lines) for lines in counted)
    if not text:
        yield f"{module.path}:1: no docstring; say what lives here and what does not"
    elif size > MAX_OPENING_LINES:
        yield f"{module.path}:1: opens with {size} lines; say it in {MAX_OPENING_LINES}"


def _named_files(root: Path, modules: list[Module]) -> Iterator[str]:
    """A file that prose names exists: with its path from the root, or where it stands beside."""
    for module in modules:
        if module.path in MADE_UP_FILES:
            continue
        here = (root / module.path).parent
        for number, line in enumerate(module.source.splitlines(), 1):
            for name in re.findall(r"(?<![\w/.*{])((?:[a-z_]+/)*[a-z_]+\.py)\b(?![\"'}])", line):
                if not ((root / name).exists() or (here / name).exists()):
                    yield f"{module.path}:{number}: there is no {name}"


# --- what a module may touch -----------------------------------------------------------------


def _imports(module: Module) -> Iterator[str]:
    for node, name, taken in module.imports():
        top = name.partition(".")[0]
        if module.inner and top not in (*PURE_MODULES, "nodes", "protocols"):
            allowed = (*ALSO_ALLOWED.get(module.room, ()), *ALSO_ALLOWED.get(module.path, ()))
            if top not in allowed:
                yield module.at(node, f"imports {name}: reach it through the Context")
        if name == "random" and module.inner and any(each != "Random" for each in taken):
            yield module.at(node, "of random only the type Random: ask ctx.rng(name) for a stream")
        private = name.startswith("trio._") or (name == "trio" and "_core" in taken)
        if private and module.path != "emu/machine/private_trio.py":
            yield module.at(
                node, f"imports {name}: private Trio lives in emu/machine/private_trio.py"
            )


def _calls(module: Module) -> Iterator[str]:
    for node in module.nodes:
        match node:
            case ast.Call(func=ast.Name(id="print")) if not module.path.startswith("emu/cli/"):
                yield module.at(node, "print outside emu/cli: log an event")
            case ast.Call(func=ast.Attribute(attr="echo")):
                yield module.at(node, "echo hides that a stream refuses: emu/cli/output.py writes")
            case ast.Call(func=ast.Name(id=name)) if module.inner and name in BUILTINS_WITH_REACH:
                yield module.at(node, f"{name}() reaches out of the Context")
            case ast.Attribute(value=ast.Name(id="random"), attr=name) if module.inner:
                if name != "Random":
                    yield module.at(node, f"random.{name}: ask ctx.rng(name) for a stream")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="random"), attr="Random")) if (
                module.inner
            ):
                yield module.at(node, "a stream made here: ask ctx.rng(name) for it")
            case ast.Attribute(value=ast.Name(id="trio"), attr=name):
                if module.inner and name in REAL_TIME:
                    yield module.at(node, f"trio.{name}: the node has its own clock and network")
                if name == "_core" and module.path != "emu/machine/private_trio.py":
                    yield module.at(
                        node, "trio._core: private Trio lives in emu/machine/private_trio.py"
                    )
            case ast.keyword(arg="shield", value=ast.Constant(value=True)) if module.inner:
                yield module.at(node, "shield=True: a dead node's task must not live on")


def _handlers(module: Module) -> Iterator[str]:
    for node in module.nodes:
        if not isinstance(node, ast.ExceptHandler) or not module.inner:
            continue
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        bare = node.type is None
        if bare or any(
            isinstance(each, ast.Name) and each.id == "BaseException" for each in caught
        ):
            yield module.at(node, "catches BaseException: a cancelled or fenced task must end")


def _set_order(module: Module) -> Iterator[str]:
    """Sets have an order that differs between processes: never iterate one made on the spot."""
    for node in module.nodes:
        match node:
            case ast.For(iter=each) | ast.AsyncFor(iter=each) | ast.comprehension(iter=each):
                places = [each]
            case ast.Call(func=ast.Name(id="list" | "tuple" | "enumerate" | "zip"), args=places):
                pass
            case ast.Call(func=ast.Attribute(attr="join" | "extend" | "fromkeys"), args=places):
                pass
            case _:
                continue
        for each in places:
            if _is_set(each):
                yield module.at(each, "iterates a set: use a dict, or sorted()")


def _is_set(node: ast.expr) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in HASH_ORDERED
        case ast.BinOp(op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor()):
            return _is_set(node.left) or _is_set(node.right)
    return False


def _module_state(module: Module) -> Iterator[str]:
    """What a module holds is constant: nodes of one process must share nothing, nor two runs."""
    if not module.inner:
        return
    for node in module.tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name != "__all__":
                if _is_container(value):
                    yield module.at(node, f"{name} may change: make it Final, or a node's own")
            case ast.AnnAssign(
                target=ast.Name(id=name), annotation=hint, value=ast.expr() as value
            ):
                if _is_container(value) and not ast.unparse(hint).startswith("Final"):
                    yield module.at(node, f"{name} may change: make it Final, or a node's own")
    for each in module.nodes:
        if isinstance(each, ast.Global):
            yield module.at(each, f"global {each.names[0]}: state belongs to a node")


def _is_container(node: ast.expr) -> bool:
    match node:
        case ast.List() | ast.Dict() | ast.Set() | ast.ListComp() | ast.DictComp() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in CONTAINERS
    return False


RULES: Final = (_length, _opening, _imports, _calls, _handlers, _set_order, _module_state)


# --- the whole -------------------------------------------------------------------------------


def _graph(modules: list[Module]) -> dict[str, dict[str, None]]:
    """Module name -> the modules of ours that it imports; taken from a package, only those."""
    names = {module.name for module in modules}
    graph: dict[str, dict[str, None]] = {}
    for module in modules:
        found: dict[str, None] = {}
        for _, name, taken in module.imports():
            inner = [f"{name}.{each}" for each in taken if f"{name}.{each}" in names]
            whole = inner if len(inner) == len(taken) > 0 else [name, *inner]
            found |= {each: None for each in whole if each in names and each != module.name}
        graph[module.name] = found
    return graph


def _top_files(modules: list[Module]) -> Iterator[str]:
    for room in ("emu", "nodes"):
        files = sum(module.path.count("/") == 1 and module.room == room for module in modules)
        if files > MAX_TOP_FILES:
            yield f"{room}/: {files} files at its top; the cap is {MAX_TOP_FILES}: make rooms"


def _dead_modules(modules: list[Module]) -> Iterator[str]:
    """Modules that nothing imports; tests do not count."""
    graph = _graph(modules)
    used = {name for found in graph.values() for name in found}
    for module in modules:
        is_package = module.path.endswith("__init__.py")
        if not (is_package or module.name in used or module.name in ENTRY_POINTS):
            yield f"{module.path}:1: nothing imports it: remove it"


def _circles(modules: list[Module]) -> Iterator[str]:
    """Modules that import each other, whoever is in between, type-checking imports counted."""
    for circle in _components(_graph(modules)):
        file = circle[0].replace(".", "/") + ".py"
        yield f"{file}:1: an import circle: {', '.join(circle)}"


def _components(graph: Mapping[str, Mapping[str, None]]) -> list[list[str]]:
    """The sets of two modules or more that reach each other (Tarjan), each in order."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = lowest[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
            if other in stack:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == index[name]:
            at = stack.index(name)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for name in graph:
        if name not in index:
            visit(name)
    return found


def _tiers_apart(modules: list[Module]) -> Iterator[str]:
    """Tiers of one family meet those of another on the wire only, not even indirectly.

    A tier is a module that the table of kinds imports, or of a family's `kind` module, what that
    imports of its own package.
    """
    graph = _graph(modules)
    packages = {module.name for module in modules if module.path.endswith("/__init__.py")}
    tiers = {each: None for name in graph.get(KINDS, {}) for each in _tiers_of(name, graph)}
    tiers = {name: None for name in tiers if name != RECORD and name not in packages}
    for tier in tiers:
        reached_from: dict[str, str] = {}
        frontier = [tier]
        while frontier:
            here = frontier.pop()
            for there in graph[here]:
                if there not in reached_from and there != tier:
                    reached_from[there] = here
                    frontier.append(there)
        for other in tiers:
            apart = _family(other) != _family(tier) and (tier, other) not in SAME_PROGRAM
            if other in reached_from and apart:
                file = reached_from[other].replace(".", "/") + ".py"
                yield f"{file}:1: {tier} reaches {other}: tiers meet on the wire only"


def _tiers_of(name: str, graph: dict[str, dict[str, None]]) -> list[str]:
    if not name.endswith(".kind"):
        return [name]
    return [each for each in graph[name] if _family(each) == _family(name)]


def _family(name: str) -> str:
    """`nodes.kv` of `nodes.kv.shard`, `nodes.web` of itself."""
    return ".".join(name.split(".")[:2])


def _families_unnamed(modules: list[Module]) -> Iterator[str]:
    """emu/ names no kind and imports no family: it asks the Kind of a tier."""
    table = next((module for module in modules if module.name == KINDS), None)
    if table is None:
        return
    words = dict.fromkeys(_words_of(table))
    for module in modules:
        if module.room == "emu" and not module.path.startswith(FAMILY_ROOMS):
            yield from _imported_families(module)
            yield from _named_kinds(module, words)


def _words_of(table: Module) -> Iterator[str]:
    """The table's words, and the names of the families that it imports."""
    for node in table.nodes:
        if isinstance(node, ast.Dict):
            yield from (str(key.value) for key in node.keys if isinstance(key, ast.Constant))
    for _, name, taken in table.imports():
        if name.startswith("nodes.") and name != RECORD:
            yield name.split(".")[1]
        elif name == "nodes":
            yield from taken


def _imported_families(module: Module) -> Iterator[str]:
    for node, name, taken in module.imports():
        top, _, rest = name.partition(".")
        for room in (rest.partition(".")[:1] if rest else taken) if top == "nodes" else ():
            if room not in OPEN_NODES:
                yield module.at(node, f"imports nodes.{room}: ask the Kind of the tier")


def _named_kinds(module: Module, words: Mapping[str, None]) -> Iterator[str]:
    others = [each for path, found in OTHER_MEANINGS.items() for each in found
              if module.path.startswith(path)]  # fmt: skip
    keys = list(_keys(module.tree))
    for node in module.nodes:
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        word = node.value
        means_else = word in others or (word in RECORD_KEYS and node in keys)
        if word in words and not means_else:
            yield module.at(node, f"names the kind `{word}`: ask the Kind of the tier")


def _keys(tree: ast.Module) -> Iterator[ast.expr | None]:
    """Keys of literal mappings, and what stands in brackets."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            yield from node.keys
        elif isinstance(node, ast.Subscript):
            yield node.slice
