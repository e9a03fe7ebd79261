"""Put a mutant's code in the place of the engine's, in a running process: everything that has imported it sees it."""

import ast
import functools
import inspect
import sys


def install(module, source, mutant):
    """Change the loaded ``module`` into the mutant. There is no way back: do it in a process of its own."""
    changed = source[: mutant.start] + mutant.text + source[mutant.end :]
    code, tree = compile(changed, module.__file__, "exec"), ast.parse(changed)
    owner, node, defined = module, tree, ""
    for name in mutant.function.split("."):
        node = next((n for n in node.body if getattr(n, "name", None) == name), None)
        if node is None:
            break
        defined = f"{defined}.{name}".lstrip(".")
        if isinstance(node, ast.FunctionDef):
            return _replace(_plain(vars(owner)[name]), code, defined, node, module)
        owner = vars(owner)[name]
    return _reassign(module, owner, tree, defined, mutant)


def _plain(found):
    """The function behind a property or a method of a class."""
    if isinstance(found, property):
        return found.fget
    if isinstance(found, functools.cached_property):
        return found.func
    return inspect.unwrap(getattr(found, "__func__", found))


def _replace(function, code, name, node, module):
    """Another body, and other defaults."""
    function.__code__ = next(c for c in _codes(code) if c.co_qualname == name)
    node.decorator_list, node.returns = [], None
    for argument in ast.walk(node.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    node.body = [ast.Pass()]
    namespace = dict(vars(module))
    exec(compile(ast.fix_missing_locations(ast.Module([node], [])), module.__file__, "exec"), namespace)
    made = namespace[node.name]
    function.__defaults__, function.__kwdefaults__ = made.__defaults__, made.__kwdefaults__


def _codes(code):
    """All code objects in one."""
    for constant in code.co_consts:
        if inspect.iscode(constant):
            yield constant
            yield from _codes(constant)


def _reassign(module, owner, tree, class_name, mutant):
    """The assignments of a module or a class that the mutant changes, done again; what was imported of them, too."""
    body = tree.body
    for name in class_name.split(".") if class_name else []:
        body = next(n for n in body if getattr(n, "name", None) == name).body
    before, namespace = dict(vars(owner)), {**vars(module), **vars(owner)}
    statement = next(
        n
        for n in body
        if n.lineno <= mutant.line <= n.end_lineno and isinstance(n, ast.Assign | ast.AnnAssign)
    )
    exec(compile(ast.Module([statement], []), module.__file__, "exec"), namespace)
    target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
    for name in [n.id for n in ast.walk(target) if isinstance(n, ast.Name)]:
        if owner is not module:
            setattr(owner, name, namespace[name])
            _default(owner, name, namespace[name])
            continue
        for other in list(sys.modules.values()):
            if other is module or getattr(other, "__name__", "").split(".")[0] in ("minipc", "tests"):
                if name in vars(other) and vars(other)[name] is before[name]:
                    setattr(other, name, namespace[name])


def _default(owner, name, value):
    """The default of a field of a dataclass stands in its constructor as well."""
    fields = getattr(owner, "__dataclass_fields__", {})
    if name not in fields:
        return
    defaults = [f.name for f in fields.values() if f.init and f.default.__class__.__name__ != "_MISSING_TYPE"]
    changed = list(owner.__init__.__defaults__)
    changed[defaults.index(name)] = value
    owner.__init__.__defaults__ = tuple(changed)
