"""Small faults planted in a function: the operators of mutmut, made into code that a live function can be given.

mutmut itself leaves decorated functions alone and copies the project; derivations are decorated, and their tests are
vignettes. So its operators are used, and the rest is done here: the file stays as it is, the code object is exchanged.
"""

import functools
import gc
import importlib.machinery
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper
from mutmut.mutation.mutators import mutation_operators


@dataclass(frozen=True)
class Mutant:
    """One planted fault: where it stands, and what stands there instead (``start`` and ``length`` in bytes)."""

    path: Path
    function: str
    line: int
    was: str
    now: str
    start: int
    length: int

    def __str__(self):
        return f"{self.path}:{self.line} {self.place}"

    @property
    def place(self):
        """The fault without its line, so that lists of faults outlive edits elsewhere in the file."""
        return f"{self.function}: {_short(self.was)} -> {_short(self.now)}"


def _short(text):
    line = " ".join(text.split())
    return line if len(line) < 70 else line[:67] + "..."


def mutants_of(root, path):
    """Every mutant of the functions in a file, in the order of the file."""
    text = (root / path).read_bytes()
    wrapper = MetadataWrapper(cst.parse_module(text))
    finder = _Finder()
    wrapper.visit(finder)
    spans = wrapper.resolve(ByteSpanPositionProvider)
    for node, function in finder.found:
        for kind, operator in mutation_operators:
            if not isinstance(node, kind):
                continue
            start, was = spans[node].start, _code(node)
            line = text.count(b"\n", 0, start) + 1
            for changed in operator(node):
                if _strictness_alone(node, changed):
                    continue
                yield Mutant(path, function, line, was, _code(changed), start, spans[node].length)


def _is_strict(argument):
    return argument.keyword is not None and argument.keyword.value == "strict"


def _strictness_alone(node, changed):
    """Whether only the assertion of ``zip`` is changed or left out, that its arguments are equally long."""
    if not isinstance(node, cst.Call) or not isinstance(changed, cst.Call):
        return False
    left, right = (
        [
            _code(one.with_changes(comma=cst.MaybeSentinel.DEFAULT))
            for one in call.args
            if not _is_strict(one)
        ]
        for call in (node, changed)
    )
    return (
        left == right
        and _code(node.func) == _code(changed.func)
        and any(map(_is_strict, node.args))
    )


def _code(node):
    return cst.Module(body=[]).code_for_node(node)


class _Finder(cst.CSTVisitor):
    """The nodes inside functions that can be changed; words for people, types and decorators are no logic."""

    def __init__(self):
        self.found = []
        self._names, self._functions = [], 0

    def visit_ClassDef(self, node):  # noqa: N802
        self._names.append(node.name.value)

    def leave_ClassDef(self, _node):  # noqa: N802
        self._names.pop()

    def visit_FunctionDef(self, node):  # noqa: N802
        if not self._functions:
            self._names.append(node.name.value)
        self._functions += 1
        node.body.visit(self)
        self._functions -= 1
        if not self._functions:
            self._names.pop()
        return False  # decorators, parameters and annotations are left as they are

    def visit_Annotation(self, _node):  # noqa: N802
        return False

    def visit_Raise(self, _node):  # noqa: N802
        return False  # whether it is raised is decided by the conditions around it; the words are for people

    def visit_Expr(self, node):  # noqa: N802
        return not isinstance(node.value, cst.SimpleString)  # a docstring

    def visit_Assert(self, _node):  # noqa: N802
        return False

    def visit_Arg(self, node):  # noqa: N802
        return not _is_strict(node)  # zip(..., strict=True) asserts that both are as long

    def on_visit(self, node):
        inside = super().on_visit(node)
        if inside and self._functions:
            self.found.append((node, ".".join(self._names)))
        return inside


def plant(root, mutant):
    """Give every live function of the mutant its changed code, and the file too if it is imported again.

    Returns whether the changed source can be compiled at all.
    """
    file = str((root / mutant.path).resolve())
    text = (root / mutant.path).read_bytes()
    end = mutant.start + mutant.length
    source = text[: mutant.start] + mutant.now.strip().encode() + text[end:]
    try:
        changed = compile(source, file, "exec", dont_inherit=True)
    except SyntaxError:
        return False
    codes = dict(_codes(changed))
    for one in gc.get_objects():
        if isinstance(one, FunctionType) and one.__code__.co_filename == file:
            code = codes.get(one.__code__.co_qualname)
            if code is not None and len(code.co_freevars) == len(one.__code__.co_freevars):
                one.__code__ = code
    loaded = importlib.machinery.SourceFileLoader.get_code

    def get_code(self, name):
        return changed if self.get_filename(name) == file else loaded(self, name)

    importlib.machinery.SourceFileLoader.get_code = get_code
    for one in gc.get_objects():
        if isinstance(one, functools._lru_cache_wrapper):
            one.cache_clear()
    return True


def _codes(code):
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield one.co_qualname, one
            yield from _codes(one)
