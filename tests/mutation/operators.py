"""Every small change of a module that mutation testing tries: a list of text edits, one a mutant.

Not changed: docstrings, the words of messages (a string with a space in it, an f-string, the first argument of a
``check_...``), annotations, decorators, imports, ``__all__``, and the ``strict`` of a ``zip``, which is an assertion.
The conditions of refusals are.
"""

import ast
import re
from typing import NamedTuple


class Mutant(NamedTuple):
    """One change. ``old`` and ``new`` are the lines it touches, without indentation; with the function and ``nth``
    (which of several equal changes in it) they are its name, which survives a move of the lines."""

    function: str  # the outermost function or class attribute; "" at the level of the module
    old: str
    new: str
    nth: int
    operator: str
    line: int
    start: int  # offsets in the source, and what stands there instead
    end: int
    text: str

    @property
    def key(self):
        """What the mutant is known by."""
        return self.function, self.old, self.new, self.nth


BINARY = {
    ast.Add: ["-"], ast.Sub: ["+"], ast.Mult: ["/"], ast.Div: ["*"], ast.FloorDiv: ["/"], ast.Mod: ["//"],
    ast.Pow: ["*"], ast.MatMult: ["*"], ast.BitOr: ["&"], ast.BitAnd: ["|"],
}  # fmt: skip
SIGN = {
    ast.Add: r"\+", ast.Sub: "-", ast.Mult: r"\*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%",
    ast.Pow: r"\*\*", ast.MatMult: "@", ast.BitOr: r"\|", ast.BitAnd: "&",
}  # fmt: skip
COMPARE = {
    ast.Lt: ["<=", ">="], ast.LtE: ["<", ">"], ast.Gt: [">=", "<="], ast.GtE: [">", "<"], ast.Eq: ["!="],
    ast.NotEq: ["=="], ast.Is: ["is not"], ast.IsNot: ["is"], ast.In: ["not in"], ast.NotIn: ["in"],
}  # fmt: skip
COMPARISON = re.compile(r"is\s+not|not\s+in|is|in|<=|>=|==|!=|<|>")
NAMES = {  # one function for another
    "min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum",
    "zeros": "ones", "zeros_like": "ones_like", "ones": "zeros", "ones_like": "zeros_like",
    "sum": "mean", "real": "imag", "tanh": "sin", "sqrt": "abs", "isqrt": "int", "append": "count", "repeat": "tile",
}  # fmt: skip
DROPPED = ("T", "real")  # attributes, and calls without or with arguments, that are left out
DROPPED_CALLS = ("conj", "copy", "astype", "reshape", "transpose")
COMMUTE = (
    "min",
    "max",
    "minimum",
    "maximum",
    "add",
    "multiply",
    "result_type",
)  # swapped arguments change nothing
UNWRAPPED = (
    "float",
    "int",
    "abs",
    "reversed",
    "ascontiguousarray",
    "sqrt",
    "tuple",
    "list",
    "real",
    "swapaxes",
)


def mutants(source):
    """All mutants of a module's source, in the order of the text."""
    return _Mutator(source).found()


class _Mutator(ast.NodeVisitor):
    def __init__(self, source):
        self.source, self.tree, self.function = source, ast.parse(source), ""
        starts = [0]
        for line in source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self.starts, self.lines, self.edits, self.stored = starts, source.splitlines(), [], set()
        self.visit(self.tree)

    def found(self):
        """Named and counted; a change that is no change, or no Python, is not there."""
        seen, mutants = {}, []
        for function, operator, start, end, text in sorted(self.edits, key=lambda e: e[2:]):
            first = self.source.count("\n", 0, start)
            last = self.source.count("\n", 0, end)
            head, tail = self.source[self.starts[first] : start], self.source[end : self.starts[last + 1]]
            old, new = (
                " ".join(line.strip() for line in whole.splitlines())
                for whole in (head + self.source[start:end] + tail, head + text + tail)
            )
            if old == new:
                continue
            at = (function, old, new)
            seen[at] = seen.get(at, 0) + 1
            mutants.append(Mutant(function, old, new, seen[at], operator, first + 1, start, end, text))
        return mutants

    # ------------------------------------------------------------------ positions in the text
    def at(self, line, column):
        """Offset of a position that ``ast`` counts in bytes."""
        return self.starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def span(self, node):
        """First and last offset of a node."""
        return self.at(node.lineno, node.col_offset), self.at(node.end_lineno, node.end_col_offset)

    def code(self, node):
        """The text of a node."""
        start, end = self.span(node)
        return self.source[start:end]

    def edit(self, operator, node, text, span=None):
        """Note a mutant: ``text`` in the place of the node, or of another span."""
        start, end = span or self.span(node)
        self.edits.append((self.function, operator, start, end, text))

    def between(self, operator, node, left, right, pattern, texts):
        """Another sign between two operands."""
        start, end = self.span(left)[1], self.span(right)[0]
        gap = re.sub(r"#.*", lambda m: " " * len(m[0]), self.source[start:end])
        found = re.search(pattern, gap)
        for text in texts:
            self.edit(operator, node, text, (start + found.start(), start + found.end()))

    # ------------------------------------------------------------------ what is not looked into
    def visit_Import(self, node): ...
    def visit_ImportFrom(self, node): ...
    def visit_JoinedStr(self, node): ...

    def visit_AnnAssign(self, node):
        if node.value is not None:
            self.named(node.target, node.value)

    def visit_Assign(self, node):
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id == "__all__":
            return
        self.again(node)
        self.named(target, node.value)
        for target in node.targets:
            if not isinstance(target, ast.Name | ast.Tuple):
                self.visit(target)

    def again(self, node):
        """An assignment to what has a value already can be left out."""
        names = {n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        stored = any(isinstance(t, ast.Subscript | ast.Attribute) for t in node.targets)
        if self.inside and (stored or names <= self.stored):
            self.edit("drop statement", node, "pass")
        self.stored |= names

    def named(self, target, value):
        """What is assigned, at the level of a module or a class under the name that gets it."""
        if self.inside:
            return self.visit(value)
        before = self.function
        self.function = f"{before}.{ast.unparse(target)}".lstrip(".")
        self.visit(value)
        self.function = before

    @property
    def inside(self):
        """Are we in a function?"""
        return getattr(self, "_inside", False)

    # ------------------------------------------------------------------ functions and statements
    def visit_ClassDef(self, node):
        before = self.function
        self.function = f"{before}.{node.name}".lstrip(".")
        self.body(node.body)
        self.function = before

    def visit_FunctionDef(self, node):
        before, outer, stored = self.function, self.inside, self.stored
        if not outer:
            self.function, self.stored = f"{before}.{node.name}".lstrip("."), set()
        arguments = node.args
        self.stored = self.stored | {a.arg for a in ast.walk(arguments) if isinstance(a, ast.arg)}
        for default in [*arguments.defaults, *arguments.kw_defaults]:
            if default is not None:
                self.visit(default)
        self._inside = True
        self.body(node.body)
        self._inside, self.function, self.stored = outer, before, stored

    def body(self, body):
        """Statements, without a docstring."""
        for i, statement in enumerate(body):
            text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if not (i == 0 and text):
                self.visit(statement)

    def visit_Module(self, node):
        self.body(node.body)

    def visit_Expr(self, node):
        if not isinstance(node.value, ast.Yield | ast.YieldFrom):
            self.edit("drop statement", node, "pass")
        self.visit(node.value)

    def visit_Raise(self, node):
        self.edit("drop statement", node, "pass")  # the words of the message stay

    def visit_Delete(self, node):
        self.edit("drop statement", node, "pass")

    def visit_Break(self, node):
        self.edit("break", node, "continue")

    def visit_Continue(self, node):
        self.edit("break", node, "break")

    def visit_Return(self, node):
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            self.edit("drop statement", node, "pass")
            self.visit(node.value)

    def visit_AugAssign(self, node):
        start, end = self.span(node.target)[1], self.span(node.value)[0]
        gap = self.source[start:end]
        sign = re.search(r"\S+=", gap)
        self.edit("assignment", node, "=", (start + sign.start(), start + sign.end()))
        for other in BINARY.get(type(node.op), []):
            self.edit("arithmetic", node, f"{other}=", (start + sign.start(), start + sign.end()))
        self.edit("drop statement", node, "pass")
        self.visit(node.target)
        self.visit(node.value)

    # ------------------------------------------------------------------ conditions
    def condition(self, test):
        """A condition that no comparison makes: turned round."""
        plain = not isinstance(test, ast.Compare | ast.BoolOp) and not (
            isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        )
        if plain:
            self.edit("negation", test, f"(not {self.code(test)})")

    def visit_If(self, node):
        self.condition(node.test)
        self.visit(node.test)
        self.body([*node.body, *node.orelse])

    def visit_IfExp(self, node):
        self.condition(node.test)
        for part in (node.body, node.test, node.orelse):
            self.visit(part)

    def visit_comprehension(self, node):
        for test in node.ifs:
            self.condition(test)
        self.generic_visit(node)

    def visit_BoolOp(self, node):
        word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.between("boolean", node, left, right, rf"\b{word}\b", [other])
        for i, value in enumerate(node.values):  # and each part left out
            neutral = "True" if word == "and" else "False"
            self.edit("condition left out", value, neutral)
            self.condition(value)
            self.visit(node.values[i])

    def visit_Compare(self, node):
        for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            self.between("comparison", node, left, right, COMPARISON, COMPARE[type(op)])
        self.visit(node.left)
        for op, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.Tuple):
                self.generic_visit(right)  # the order of what something is looked for in does not count
            else:
                self.visit(right)

    # ------------------------------------------------------------------ arithmetic
    def visit_BinOp(self, node):
        self.between("arithmetic", node, node.left, node.right, SIGN[type(node.op)], BINARY[type(node.op)])
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        if isinstance(node.op, ast.USub | ast.Not):
            self.edit("sign", node, f"({self.code(node.operand)})")
        self.visit(node.operand)

    def visit_Constant(self, node):
        value = node.value
        if isinstance(value, bool):
            self.edit("constant", node, str(not value))
        elif isinstance(value, int):
            self.edit("constant", node, str(value + 1))
            self.edit("constant", node, f"({value - 1})" if value == 0 else str(value - 1))
        elif isinstance(value, float):
            self.edit("constant", node, repr(value * 1.5 + 0.25))
        elif isinstance(value, complex):
            self.edit("constant", node, repr(2 * value))
        elif isinstance(value, str) and " " not in value:
            self.edit("constant", node, repr(f"{value}X"))

    # ------------------------------------------------------------------ calls, attributes, indices
    def visit_Call(self, node):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        arguments = node.args
        if name.startswith(("check_", "_check_")) and arguments and isinstance(arguments[0], ast.Constant):
            arguments = arguments[1:]  # the name for messages
        if name in NAMES:
            end = self.span(node.func)[1]
            self.edit("function", node, NAMES[name], (end - len(name), end))
        starred = any(isinstance(a, ast.Starred) for a in node.args[:2])
        if len(node.args) > 1 and not starred and len(arguments) == len(node.args) and name not in COMMUTE:
            first, second = node.args[:2]
            span = self.span(first)[0], self.span(second)[1]
            middle = self.source[self.span(first)[1] : self.span(second)[0]]
            self.edit("swapped arguments", node, self.code(second) + middle + self.code(first), span)
        for word in node.keywords:
            if word.arg not in (None, "strict") and len(node.args) + len(node.keywords) > 1:
                self.without(node, word)
        if name in DROPPED_CALLS and isinstance(node.func, ast.Attribute):
            self.edit("call left out", node, self.code(node.func.value))
        if name in UNWRAPPED and node.args and not isinstance(node.args[0], ast.Starred):
            self.edit("call left out", node, f"({self.code(node.args[0])})")
        self.visit(node.func)
        for argument in arguments:
            if not (
                name == "reshape" and isinstance(argument, ast.UnaryOp)
            ):  # any negative size is what is left
                self.visit(argument)
        for word in node.keywords:
            if word.arg != "strict":
                self.visit(word.value)

    def without(self, node, word):
        """A keyword left out, with a comma beside it."""
        start, end = self.span(word)
        before = re.search(r",\s*$", self.source[:start][-200:])
        if before:
            start -= len(before[0])
        elif after := re.match(r"\s*,\s*", self.source[end:]):
            end += len(after[0])
        self.edit("argument left out", node, "", (start, end))

    def visit_Attribute(self, node):
        if node.attr in DROPPED and isinstance(node.ctx, ast.Load):
            self.edit("attribute left out", node, self.code(node.value))
        self.visit(node.value)

    def visit_Subscript(self, node):
        index = node.slice
        if isinstance(index, ast.Name) and len(index.id) == 1:
            self.edit("index", index, f"{index.id} - 1")
        self.visit(node.value)
        self.visit(index)

    def visit_Slice(self, node):
        for bound in (node.lower, node.upper, node.step):
            if bound is not None:
                self.edit("bound left out", bound, "")
                self.visit(bound)

    def visit_Tuple(self, node):
        if len(node.elts) == 2 and isinstance(node.ctx, ast.Load):
            self.swap(node)
        self.generic_visit(node)

    def swap(self, node):
        """Two entries the other way round."""
        first, second = node.elts
        if any(isinstance(e, ast.Starred | ast.Slice) for e in node.elts):
            return
        span = self.span(first)[0], self.span(second)[1]
        middle = self.source[self.span(first)[1] : self.span(second)[0]]
        self.edit("swapped arguments", node, self.code(second) + middle + self.code(first), span)
