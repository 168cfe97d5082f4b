# Runs Python code for one context, one request after the other; docs/protocol.md, "Code contexts".
import ast, base64, builtins, fcntl, inspect, json, linecache, os, signal, sys, traceback, types

PIECE = 3000  # of a frame, in characters: with its marks it fits the one write that no other writer can split
LARGEST = 4 * 1024 * 1024  # of one format of a value, in characters
ROWS = 1000  # of a table
TABLE = "application/vnd.caisson.table+json"


def private(fd):
    """A descriptor of our own, which programs that the code starts do not get."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64)


requests, out, err = os.fdopen(private(0), "rb"), private(1), private(2)
nothing = os.open(os.devnull, os.O_RDONLY)
os.dup2(nothing, 0)
os.close(nothing)
sys.stdout.reconfigure(line_buffering=True, encoding="utf-8", errors="backslashreplace")
sys.stderr.reconfigure(line_buffering=True, encoding="utf-8", errors="backslashreplace")
own = os.getpid()
main = types.ModuleType("__main__")
sys.modules["__main__"] = main
space = main.__dict__
state = types.SimpleNamespace(id="", turn=0, cell=0, begun=False, running=False, loop=None)


def put(fd, data):
    while data:
        data = data[os.write(fd, data) :]


def send(frame, fd=None):
    text = json.dumps(frame)  # ASCII: no byte of it is a mark
    pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
    for number, piece in enumerate(pieces):
        kind = "=" if len(pieces) == 1 else "[" if number == 0 else "]" if number == len(pieces) - 1 else "-"
        put(out if fd is None else fd, f"\x1e{state.id}{kind}{piece}\x1e".encode())


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # the code closed or replaced it


def plain(value):
    if isinstance(value, float) and value != value:
        return None  # how tables write what is missing
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except Exception:
        return str(value)


def table(value):
    """Columns and rows of a data frame or of a list of dicts."""
    kind = type(value)
    if kind.__module__.split(".")[0] == "pandas" and kind.__name__ == "DataFrame":
        rows = value.head(ROWS).itertuples(index=False, name=None)
        return {"columns": [str(one) for one in value.columns], "rows": [[plain(cell) for cell in row] for row in rows], "total_rows": len(value)}
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        columns = list(dict.fromkeys(key for one in value[:ROWS] for key in one))
        rows = [[plain(one.get(key)) for key in columns] for one in value[:ROWS]]
        return {"columns": [str(key) for key in columns], "rows": rows, "total_rows": len(value)}
    return None


def picture(figure):
    import io

    data = io.BytesIO()
    figure.savefig(data, format="png", bbox_inches="tight")
    return data.getvalue()


REPRESENTATIONS = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_latex_": "text/latex",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_json_": "application/json",
}


def formats(value):
    found = {}

    def attempt(make):
        try:
            made = make()
            for name, content in (made or {}).items():
                if content is not None:
                    found[name] = content[0] if isinstance(content, tuple) else content
        except Exception:
            pass  # one way to show it less

    try:
        found["text/plain"] = repr(value)
    except Exception as error:
        found["text/plain"] = f"<{type(value).__name__} whose repr failed: {type(error).__name__}>"
    if isinstance(value, (dict, list, tuple, str, int, float, bool)):
        attempt(lambda: {"application/json": json.loads(json.dumps(value, allow_nan=False))})
    attempt(lambda: {TABLE: table(value)})
    if not isinstance(value, type):
        for method, name in REPRESENTATIONS.items():
            if callable(getattr(type(value), method, None)):
                attempt(lambda: {name: getattr(value, method)()})
        if callable(getattr(type(value), "_repr_mimebundle_", None)):

            def bundle():
                made = value._repr_mimebundle_(include=None, exclude=None)
                return made[0] if isinstance(made, tuple) else made

            attempt(bundle)
        if type(value).__module__.split(".")[0] == "matplotlib" and hasattr(value, "savefig"):
            attempt(lambda: {"image/png": picture(value)})
    return found


def show(value, is_main):
    kept, omitted = {}, []
    for name, content in formats(value).items():
        if isinstance(content, (bytes, bytearray)):
            content = base64.b64encode(content).decode()
        try:
            size = len(json.dumps(content, allow_nan=False))
        except Exception:
            continue
        if size <= LARGEST:
            kept[str(name)] = content
        elif name == "text/plain":
            kept[name] = content[: LARGEST // 16] + "…"
        else:
            omitted.append(str(name))
    flush()
    send({"type": "result", "main": is_main, "formats": kept, "omitted": omitted})


def display(*values):
    """Shows values beside the output, in every form that they have."""
    for value in values:
        show(value, False)


def no_input(prompt=""):
    raise EOFError("input() has nothing to read in a code context; put the value into the code")


def show_figures():
    pyplot = sys.modules.get("matplotlib.pyplot")
    for number in pyplot.get_fignums() if pyplot is not None else ():
        show(pyplot.figure(number), False)
    if pyplot is not None:
        pyplot.close("all")


def run_code(code):
    """Runs a cell in the context's module and returns the value of its last expression."""
    state.cell += 1
    name = f"<cell {state.cell}>"
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    tree = ast.parse(code, name)
    last = ast.Expression(tree.body.pop().value) if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    evaluate(compile(tree, name, "exec", flags))
    return None if last is None else evaluate(compile(last, name, "eval", flags))


def evaluate(code):
    value = eval(code, space)
    if not (code.co_flags & inspect.CO_COROUTINE):
        return value
    import asyncio

    if state.loop is None or state.loop.is_closed():
        state.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(state.loop)
    task = state.loop.create_task(value)
    try:
        return state.loop.run_until_complete(task)
    except KeyboardInterrupt:
        task.cancel()
        try:
            state.loop.run_until_complete(task)
        except BaseException:
            pass  # it was told to end
        raise


def told(error):
    """An error as the caller sees it: no line of this file."""
    trace = error.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith("<cell "):
        trace = trace.tb_next
    try:
        message = str(error)
    except Exception:
        message = "(its text failed)"
    try:
        text = "".join(traceback.format_exception(type(error), error, trace))
    except Exception:
        text = ""
    return {"name": type(error).__name__, "message": message[:16384], "traceback": text[-65536:]}


def begin():
    """Tells that the code begins."""
    send({"type": "begin"}, err)
    send({"type": "begin"})
    state.begun = True


def execute(request):
    error = None
    state.begun = False
    signal.signal(signal.SIGINT, on_interrupt)
    try:
        try:
            state.running = True
            begin()  # only now: an interrupt that comes earlier is not for this code
            os.environ.update(request.get("env") or {})
            if request.get("workdir"):
                os.chdir(request["workdir"])
            value = run_code(request["code"])
            if value is not None:
                space["_"] = value
                show(value, True)
            show_figures()
        finally:
            state.running = False
    except SystemExit as left:
        error = None if left.code in (None, 0) else left
    except BaseException as raised:
        error = raised
    if not state.begun:
        begin()  # interrupted before, or in the middle
    if os.getpid() != own:
        flush()
        os._exit(0)  # a fork of the code that came back here
    flush()
    state.turn += 1
    status = "ok" if error is None else "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
    return {"type": "end", "turn": state.turn, "status": status, "error": None if error is None else told(error)}


def on_interrupt(number, frame):
    if state.running:
        raise KeyboardInterrupt


def answer(line):
    request = json.loads(line)
    state.id = request["id"]
    if request["op"] == "ask":
        send({"type": "turn", "turn": state.turn})
    elif request["op"] == "run" and request["turn"] == state.turn:
        end = execute(request)
        send({"type": "end"}, err)
        send(end)
    elif request["op"] == "run":
        send({"type": "stale"})


signal.signal(signal.SIGINT, on_interrupt)
builtins.display = display
builtins.input = no_input
try:
    import importlib.util

    if importlib.util.find_spec("matplotlib") is not None:
        os.environ.setdefault("MPLBACKEND", "Agg")
except Exception:
    pass
while True:
    try:
        line = requests.readline()
        if not line:
            break
        if line.strip():
            answer(line)
    except (KeyboardInterrupt, ValueError, KeyError, TypeError):
        pass  # an interrupt that came too late, or half a request
