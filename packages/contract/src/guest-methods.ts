/** Scopes of worker calls: what a credential must carry to use a method. */
export const SCOPES = [
  "worker:exec",
  "worker:files",
  "worker:logs",
  "worker:spawn",
  "worker:destroy",
  "worker:status",
  "worker:admin",
] as const;
export type Scope = (typeof SCOPES)[number];

/** Methods of the guest agent (docs/protocol.md) and the scope each needs. */
export const GUEST_METHODS = {
  SpawnSession: "worker:exec",
  ExecCommand: "worker:exec",
  StreamOutput: "worker:exec",
  KillSession: "worker:exec",
  WriteInput: "worker:exec",
  CloseInput: "worker:exec",
  ResizeTerminal: "worker:exec",
  WaitSession: "worker:exec",
  ListSessions: "worker:exec",
  ReadFile: "worker:files",
  WriteFile: "worker:files",
  Stat: "worker:files",
  ListDir: "worker:files",
  Glob: "worker:files",
  MakeDir: "worker:files",
  Move: "worker:files",
  Remove: "worker:files",
  Chmod: "worker:files",
  Chown: "worker:files",
  GetXattrs: "worker:files",
  SetXattr: "worker:files",
  RemoveXattr: "worker:files",
  Digest: "worker:files",
  OpenUpload: "worker:files",
  WriteUpload: "worker:files",
  GetUpload: "worker:files",
  CommitUpload: "worker:files",
  CancelUpload: "worker:files",
  ReadTree: "worker:files",
  WriteTree: "worker:files",
  Search: "worker:files",
  Replace: "worker:files",
  OpenWatch: "worker:files",
  ReadWatch: "worker:files",
  CloseWatch: "worker:files",
  ListPorts: "worker:status",
  Dial: "worker:exec",
  Stats: "worker:status",
  Shutdown: "worker:destroy",
} as const satisfies Record<string, Scope>;
export type GuestMethod = keyof typeof GUEST_METHODS;

/** Methods of a worker, and the scope each needs. */
export const WORKER_METHODS = {
  "worker.spawn": "worker:spawn",
  "worker.destroy": "worker:destroy",
  "worker.status": "worker:status",
  "worker.inventory": "worker:status",
  "worker.describe": "worker:status",
  "worker.logs": "worker:logs",
  "worker.images": "worker:admin",
  "worker.guest": "worker:exec",
} as const satisfies Record<string, Scope>;
export type WorkerMethod = keyof typeof WORKER_METHODS;
