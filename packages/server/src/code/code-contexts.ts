import { CODE_LANGUAGES, type CodeContext, type CodeLanguage } from "@caisson/contract";
import type { Guest, GuestCallOptions, Session } from "@caisson/guest";
import { isoTime } from "../http/iso-time.ts";
import { DRIVERS } from "./driver.ts";
import { contextNotFound } from "./run-code.ts";

/** Output of a context that is kept when nobody reads it, in bytes; then the code waits. */
const OUTPUT_LIMIT = 1_048_576;
/** Time for a killed context to be gone, in ms. */
const GONE_MS = 10_000;

/** An interpreter that runs in a sandbox. */
export interface LiveContext {
  /** Id of its process. */
  readonly id: number;
  readonly language: CodeLanguage;
}

/** What a context is made of. */
export interface ContextWish {
  readonly language: CodeLanguage;
  readonly user?: string | undefined;
  readonly workdir?: string | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Tag of its process: `contextTag` or `defaultTag`. */
  readonly tag: string;
}

/** All contexts that live, by id. They are processes whose tag says so. */
export async function listContexts(guest: Guest, options: GuestCallOptions): Promise<readonly Session[]> {
  return (await guest.sessions(options)).filter((session) => session.exit === null && languageOf(session) !== undefined);
}

/** One context; throws `context_not_found`. */
export async function findContext(guest: Guest, id: number, options: GuestCallOptions): Promise<Session & LiveContext> {
  const session = (await listContexts(guest, options)).find((one) => one.id === id);
  const language = session === undefined ? undefined : languageOf(session);
  if (session === undefined || language === undefined) throw contextNotFound(id);
  return { ...session, language };
}

/** Starts a context. Whether its interpreter is there shows when it is first spoken to. */
export async function startContext(guest: Guest, wish: ContextWish, options: GuestCallOptions): Promise<LiveContext> {
  const { language, user, workdir, env, tag } = wish;
  const { id } = await guest.spawn(
    {
      argv: DRIVERS[language].argv,
      stdin: true,
      tag,
      onFull: "block",
      outputLimit: OUTPUT_LIMIT,
      ...(user === undefined ? {} : { user }),
      ...(workdir === undefined ? {} : { cwd: workdir }),
      ...(env === undefined ? {} : { env }),
    },
    options,
  );
  return { id, language };
}

/** The default context of a language and user, made when there is none. Of two made at once by two servers, the older one is used. */
export async function defaultContext(
  guest: Guest,
  wish: Pick<ContextWish, "language" | "user">,
  options: GuestCallOptions,
): Promise<LiveContext> {
  const tag = defaultTag(wish.language, wish.user);
  const find = async (): Promise<Session | undefined> => (await listContexts(guest, options)).find((session) => session.tag === tag);
  const found = await find();
  if (found !== undefined) return { id: found.id, language: wish.language };
  const made = await startContext(guest, { ...wish, tag }, options);
  const first = await find();
  if (first === undefined || first.id === made.id) return made;
  await guest.kill(made.id, { signal: "KILL", scope: "tree" });
  return { id: first.id, language: wish.language };
}

/** Ends a context and all that its code started. */
export async function endContext(guest: Guest, id: number, options: GuestCallOptions): Promise<void> {
  await guest.kill(id, { signal: "KILL", scope: "tree" });
  await guest.wait(id, { ...options, deadlineMs: GONE_MS });
}

/** A context as the API shows it. */
export function toCodeContext(session: Session, language: CodeLanguage): CodeContext {
  return {
    context_id: session.id,
    language,
    is_default: session.tag?.startsWith(`${PREFIX}default/`) === true,
    user: session.user,
    workdir: session.cwd,
    started_at: isoTime(session.startedAtMs),
  };
}

const PREFIX = "code/";

/** The tag of a context that was asked for. */
export function contextTag(language: CodeLanguage): string {
  return `${PREFIX}${language}`;
}

/** The tag of a default context; `user` as it was asked for. */
function defaultTag(language: CodeLanguage, user: string | undefined): string {
  return `${PREFIX}default/${language}/${user ?? ""}`;
}

/** The language of a context; undefined for other processes. */
export function languageOf({ tag }: Pick<Session, "tag">): CodeLanguage | undefined {
  const name = /^code\/(?:default\/)?([a-z]+)(?:\/|$)/.exec(tag ?? "")?.[1];
  return CODE_LANGUAGES.find((one) => one === name);
}
