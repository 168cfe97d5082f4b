import {
  CaissonError,
  CONTROL_METHODS,
  heartbeatSchema,
  portAccessSchema,
  processesChangedSchema,
  renewalSchema,
  reportSchema,
  toCaissonError,
  type ChallengeReply,
  type ControlMethod,
  type Scope,
} from "@caisson/contract";
import type { IncomingCall } from "@caisson/link";
import type { z } from "zod";
import type { ControlCalls } from "./control-client.ts";

/** Most calls of one link that are worked on at once: each holds its parameters, and may wait for the database. */
const MOST_AT_ONCE = 256;

/** What a control plane does with calls; the session checks what the worker may say. */
type Session = {
  readonly [M in Exclude<keyof ControlCalls, "challenge">]: (params: Parameters<ControlCalls[M]>[0]) => ReturnType<ControlCalls[M]>;
} & {
  /** What the worker's credential is good for now. */
  readonly scopes: ReadonlySet<Scope>;
  readonly challenge: () => Promise<ChallengeReply>;
};

const METHODS: { readonly [M in ControlMethod]: (session: Session, params: unknown) => Promise<object | void> } = {
  "control.heartbeat": (session, params) => session.heartbeat(read("control.heartbeat", heartbeatSchema, params)),
  "control.challenge": (session) => session.challenge(),
  "control.renew": (session, params) => session.renew(read("control.renew", renewalSchema, params)),
  "control.report": (session, params) => session.report(read("control.report", reportSchema, params)),
  "control.processes": (session, params) => session.processesChanged(read("control.processes", processesChangedSchema, params)),
  "control.port_access": (session, params) => session.portAccess(read("control.port_access", portAccessSchema, params)),
};

/** What takes the calls of `control.*` on a link with one worker, for `LinkOptions.onOpen`. */
export function serveControl(session: Session): (call: IncomingCall) => void {
  let working = 0;
  const answer = async (call: IncomingCall): Promise<void> => {
    const { method } = call;
    // Nobody would take the bytes, and they would be held until the caller ends the call.
    if (!call.peerHasEnded) throw new CaissonError("invalid_argument", "A call of a worker brings no input: it ends with its parameters.");
    if (working >= MOST_AT_ONCE)
      throw new CaissonError("resource_exhausted", `${MOST_AT_ONCE} calls of this worker are being answered.`, { retryAfter: 1 });
    if (!isControlMethod(method))
      throw new CaissonError("unsupported", `A control plane has no method ${JSON.stringify(method.slice(0, 64))}.`);
    const scope = CONTROL_METHODS[method];
    if (!session.scopes.has(scope)) throw new CaissonError("forbidden", `${method} needs the scope ${scope}.`, { detail: { scope } });
    working += 1;
    try {
      call.reply({ ...(await METHODS[method](session, call.params)) }, { fin: true });
    } finally {
      working -= 1;
    }
  };
  return (call) => void answer(call).catch((error: unknown) => call.fail(toCaissonError(error)));
}

/** Fields of later versions are let pass; what is known must fit. */
function read<T>(method: ControlMethod, schema: z.ZodType<T>, params: unknown): T {
  const { success, data, error } = schema.safeParse(params);
  if (success) return data;
  const issue = error.issues[0];
  throw new CaissonError(
    "invalid_argument",
    `The parameters of ${method} do not fit: ${issue?.path.map(String).join(".").slice(0, 128) ?? ""} ${issue?.message.slice(0, 256) ?? ""}.`,
  );
}

function isControlMethod(method: string): method is ControlMethod {
  return Object.hasOwn(CONTROL_METHODS, method);
}
