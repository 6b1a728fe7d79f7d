import ast, contextlib, io, operator, sys
from guest_sys import call, routes

HELP = "open PATH | write PATH TEXT | cat PATH | ls | rm PATH | calc EXPR | py CODE | routes | fetch URL | help | exit"
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
}
NAMES = {}


def value(node):
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](value(node.left), value(node.right))
    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](value(node.operand))
    raise ValueError("only numbers and + - * / %")


def calc(text):
    return value(ast.parse(text, mode="eval").body)


def py(code):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            result = eval(code, NAMES)
            if result is not None:
                print(repr(result))
        except SyntaxError:
            exec(code, NAMES)
    return out.getvalue().rstrip() or "ok"


def write(text):
    path, _, text = text.partition(" ")
    call("fs.write_text", path=path, text=text)
    return "wrote " + path


COMMANDS = {
    "help": lambda text: HELP,
    "open": lambda path: call("fs.open", path=path),
    "write": write,
    "cat": lambda path: call("fs.read_text", path=path),
    "ls": lambda path: "\n".join(call("fs.list", path=path)) or "(empty)",
    "rm": lambda path: call("fs.remove", path=path) or "removed " + path,
    "calc": calc,
    "py": py,
    "routes": lambda text: "\n".join(f"{op} {route}" for op, route in routes().items()),
    "fetch": lambda url: call("fetch", url=url),
}

print("AI-RT> ready", flush=True)
for line in sys.stdin:
    name, _, text = line.strip().partition(" ")
    if name == "exit":
        break
    try:
        print(COMMANDS[name](text) if name in COMMANDS else "unknown command, try help", flush=True)
    except Exception as error:
        print("error:", error, flush=True)
