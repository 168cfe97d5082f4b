// Runs JavaScript code for one context, one request after the other; docs/protocol.md, "Code contexts".
// Requests come on descriptor 3; 4 and 5 are standard output and error.
"use strict";
(() => {
  const { Session } = require("node:inspector");
  const { createRequire } = require("node:module");
  const { Socket } = require("node:net");
  const { writeSync } = require("node:fs");
  const { inspect } = require("node:util");
  const vm = require("node:vm");

  const PIECE = 3000; // of a frame, in characters: with its marks it fits the one write that no other writer can split
  const LARGEST = 4 * 1024 * 1024; // of one format of a value, in characters
  const DEEPEST = 500; // levels of one format of a value
  const ROWS = 1000; // of a table
  const TABLE = "application/vnd.caisson.table+json";
  const [out, err] = [4, 5];
  const state = { id: "", turn: 0, cell: 0, begun: false, interrupt: undefined, held: undefined };
  const session = new Session();
  session.connect();

  function put(fd, bytes) {
    let data = bytes;
    while (data.length > 0) {
      try {
        data = data.subarray(writeSync(fd, data));
      } catch (error) {
        if (error.code !== "EAGAIN") throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      }
    }
  }

  function send(frame, fd = out) {
    const text = JSON.stringify(frame).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
    const count = Math.ceil(text.length / PIECE);
    for (let number = 0; number < count; number += 1) {
      const kind = count === 1 ? "=" : number === 0 ? "[" : number === count - 1 ? "]" : "-";
      put(fd, Buffer.from(`\x1e${state.id}${kind}${text.slice(number * PIECE, (number + 1) * PIECE)}\x1e`, "latin1"));
    }
  }

  /** Has what the code writes leave this process at once: a stream that Ctrl-C stops in the middle of a write never writes again. */
  function writeAtOnce(stream, fd) {
    stream.write = (chunk, encoding, done = encoding) => {
      if (typeof chunk !== "string" && !ArrayBuffer.isView(chunk)) throw new TypeError("Only strings and bytes can be written.");
      if (stream.destroyed || stream.writableEnded) throw new Error("The stream has ended.");
      const text = typeof chunk === "string";
      const as = typeof encoding === "string" ? encoding : "utf8";
      put(fd, text ? Buffer.from(chunk, as) : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
      if (typeof done === "function") process.nextTick(done);
      return true;
    };
  }

  const isPlain = (value) =>
    typeof value === "object" && value !== null && [Object.prototype, Array.prototype, null].includes(Object.getPrototypeOf(value));
  const REPRESENTATIONS = {
    _repr_html_: "text/html",
    _repr_markdown_: "text/markdown",
    _repr_svg_: "image/svg+xml",
    _repr_png_: "image/png",
    _repr_jpeg_: "image/jpeg",
    _repr_json_: "application/json",
  };

  function table(value) {
    if (!Array.isArray(value) || value.length === 0 || !value.every((one) => isPlain(one) && !Array.isArray(one))) return undefined;
    const shown = value.slice(0, ROWS);
    const columns = [...new Set(shown.flatMap(Object.keys))];
    return { columns, rows: shown.map((one) => columns.map((key) => one[key] ?? null)), total_rows: value.length };
  }

  function formats(value) {
    const found = {};
    const attempt = (name, make) => {
      try {
        const made = make();
        if (made !== undefined && made !== null) found[name] = made;
      } catch {
        // one way to show it less
      }
    };
    attempt("text/plain", () => inspect(value, { depth: 4, maxArrayLength: 1000, maxStringLength: 1_000_000 }));
    if (["string", "number", "boolean"].includes(typeof value) || isPlain(value)) {
      attempt("application/json", () => {
        const text = JSON.stringify(value);
        return text === undefined ? undefined : JSON.parse(text);
      });
    }
    attempt(TABLE, () => table(value));
    if (typeof value === "object" && value !== null) {
      for (const [method, name] of Object.entries(REPRESENTATIONS)) {
        if (typeof value[method] === "function") attempt(name, () => value[method]());
      }
    }
    return found;
  }

  /** Whether a value goes deeper than so many levels: further on it could be read, but not written again. */
  const deeper = (value, levels) =>
    typeof value === "object" && value !== null && (levels === 0 || Object.values(value).some((one) => deeper(one, levels - 1)));

  function show(value, main) {
    const kept = {};
    const omitted = [];
    for (const [name, content] of Object.entries(formats(value))) {
      const data = content instanceof Uint8Array ? Buffer.from(content).toString("base64") : content;
      const size = JSON.stringify(data)?.length ?? 0;
      if (size <= LARGEST && !deeper(data, DEEPEST)) kept[name] = data;
      else if (name === "text/plain") kept[name] = `${data.slice(0, LARGEST / 16)}…`;
      else omitted.push(name);
    }
    send({ type: "result", main, formats: kept, omitted });
  }

  /** The same code with calls of `import` as calls of a function, since code given to the engine has no module to import from. */
  function withImports(code) {
    if (!/\bimport\s*\(/.test(code)) return code;
    const token = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\[\s\S]|[^"\\\n])*"|'(?:\\[\s\S]|[^'\\\n])*'|(?<![\w$.])import(?=\s*\()/g;
    return code.replace(token, (found) => (found === "import" ? "__import" : found));
  }

  /** Tells that the code begins. */
  function begin() {
    send({ type: "begin" }, err);
    send({ type: "begin" });
    state.begun = true;
  }

  function evaluate(expression) {
    return new Promise((resolve) => {
      state.interrupt = () => resolve({ interrupted: true });
      const go = () => {
        // Only now: a Ctrl-C that comes earlier is not told to code that is busy from its first moment.
        begin();
        const how = { expression, replMode: true, awaitPromise: true };
        session.post("Runtime.evaluate", how, (error, answer) => resolve(error ? { error } : answer));
      };
      try {
        // The engine's own evaluation knows top-level await and lets names be declared again; this around it, Ctrl-C.
        globalThis.__go = go;
        vm.runInThisContext("__go()", { breakOnSigint: true });
      } catch (error) {
        resolve(error.code === "ERR_SCRIPT_EXECUTION_INTERRUPTED" ? { interrupted: true } : { error });
      } finally {
        delete globalThis.__go;
      }
    });
  }

  /** The value that the engine describes. */
  function valueOf(described) {
    if (described.objectId === undefined) {
      return "unserializableValue" in described ? vm.runInThisContext(described.unserializableValue) : described.value;
    }
    globalThis.__hold = (value) => (state.held = value);
    session.post("Runtime.callFunctionOn", { functionDeclaration: "function () { __hold(this) }", objectId: described.objectId });
    session.post("Runtime.releaseObject", { objectId: described.objectId });
    delete globalThis.__hold;
    const { held } = state;
    state.held = undefined;
    return described.type === "symbol" || described.type === "bigint" ? held.valueOf() : held;
  }

  function told(thrown) {
    if (!(thrown instanceof Error) && typeof thrown?.stack !== "string") {
      return { name: "Error", message: inspect(thrown).slice(0, 16384), traceback: "" };
    }
    const lines = String(thrown.stack).split("\n");
    const ours = lines.findIndex((line) => line.includes("node:inspector") || line.includes("node:vm"));
    const traceback = (ours < 0 ? lines : lines.slice(0, ours)).join("\n").slice(0, 65536);
    return { name: String(thrown.name), message: String(thrown.message).slice(0, 16384), traceback };
  }

  async function execute({ code, env, workdir }) {
    let end = { status: "ok", error: null };
    state.begun = false;
    try {
      Object.assign(process.env, env);
      if (workdir) process.chdir(workdir);
      state.cell += 1;
      const source = withImports(code);
      // A line that begins with a brace is an object, as in every console.
      const object = /^\s*\{[\s\S]*\}\s*$/.test(source) && compiles(`(${source}\n)`);
      const answer = await evaluate(`${object ? `(${source}\n)` : source}\n//# sourceURL=cell-${state.cell}.js`);
      // Newer engines report the end of what Ctrl-C ended as a failure of the evaluation.
      if (answer.interrupted || answer.error?.code === "ERR_INSPECTOR_COMMAND") {
        end = { status: "interrupted", error: { name: "Interrupted", message: "The code was interrupted.", traceback: "" } };
      } else if (answer.error) {
        throw answer.error;
      } else if (answer.exceptionDetails) {
        const { exception, text } = answer.exceptionDetails;
        throw exception === undefined ? new Error(text) : valueOf(exception);
      } else {
        const value = valueOf(answer.result);
        if (value !== undefined) show(value, true);
      }
    } catch (thrown) {
      end = { status: "error", error: told(thrown) };
    } finally {
      state.interrupt = undefined;
    }
    // Interrupted before, or in the middle.
    if (!state.begun) begin();
    state.turn += 1;
    return { type: "end", turn: state.turn, ...end };
  }

  function compiles(source) {
    try {
      new vm.Script(source);
      return true;
    } catch {
      return false;
    }
  }

  async function answer(line) {
    let request;
    try {
      request = JSON.parse(line);
    } catch {
      return; // half a request
    }
    state.id = request.id;
    if (request.op === "ask") send({ type: "turn", turn: state.turn });
    else if (request.op === "run" && request.turn === state.turn) {
      const end = await execute(request);
      send({ type: "end" }, err);
      send(end);
    } else if (request.op === "run") send({ type: "stale" });
  }

  writeAtOnce(process.stdout, 1);
  writeAtOnce(process.stderr, 2);
  globalThis.require = createRequire(`${process.cwd()}/`);
  globalThis.__import = (name) => {
    const text = String(name);
    // Relative names are those of the working directory, as for require.
    return import(/^\.{0,2}\//.test(text) ? require("node:url").pathToFileURL(require("node:path").resolve(text)).href : bare(text));
  };
  const bare = (text) => {
    try {
      const found = globalThis.require.resolve(text);
      return found.startsWith("/") ? require("node:url").pathToFileURL(found).href : found;
    } catch {
      return text;
    }
  };
  globalThis.display = (...values) => values.forEach((value) => show(value, false));
  for (const name of ["require", "__import", "display"]) Object.defineProperty(globalThis, name, { enumerable: false });
  process.on("SIGINT", () => state.interrupt?.());
  for (const event of ["uncaughtException", "unhandledRejection"])
    process.on(event, (error) => process.stderr.write(`${inspect(error)}\n`));

  const requests = new Socket({ fd: 3, readable: true, writable: false });
  let rest = "";
  let queue = Promise.resolve();
  requests.setEncoding("utf8");
  requests.on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.trim() !== "") queue = queue.then(() => answer(line)).catch(() => undefined);
  });
  requests.on("end", () => process.exit(0));
})();
