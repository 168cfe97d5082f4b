import { CaissonError } from "@caisson/contract";

/** Who acts in a mock box. */
export interface MockUser {
  readonly uid: number;
  readonly gid: number;
  readonly name: string;
  readonly home: string;
}

export const ROOT: MockUser = { uid: 0, gid: 0, name: "root", home: "/root" };
export const USER: MockUser = { uid: 1000, gid: 1000, name: "user", home: "/home/user" };
const KNOWN = [ROOT, USER];

/** The user that a name, a uid or `uid:gid` means; absent: `user`. */
export function mockUser(text: string | undefined): MockUser {
  if (text === undefined) return USER;
  const found = KNOWN.find((user) => user.name === text || String(user.uid) === text);
  if (found !== undefined) return found;
  const ids = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(text);
  if (ids === null) throw new CaissonError("no_such_user", `There is no user ${text.slice(0, 64)}.`);
  const uid = Number(ids[1]);
  const base = KNOWN.find((user) => user.uid === uid);
  return { uid, gid: Number(ids[2] ?? uid), name: base?.name ?? String(uid), home: base?.home ?? "/" };
}

/** The name of a uid (or gid: each user has a group of its own), null when there is none. */
export function mockUserName(id: number): string | null {
  return KNOWN.find((user) => user.uid === id)?.name ?? null;
}
