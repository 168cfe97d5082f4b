/** Scopes: what a credential must carry to use a method, of a worker or, the last two, of a control plane. */
export const SCOPES = [
  "worker:exec",
  "worker:files",
  "worker:logs",
  "worker:spawn",
  "worker:destroy",
  "worker:status",
  "worker:admin",
  "worker:heartbeat",
  "worker:lease",
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

/** Methods of a worker that are its own, and the scope each needs. */
export const WORKER_METHODS = {
  "worker.spawn": "worker:spawn",
  "worker.destroy": "worker:destroy",
  "worker.status": "worker:status",
  "worker.inventory": "worker:status",
  "worker.describe": "worker:status",
  "worker.usage": "worker:status",
  "worker.logs": "worker:logs",
  "worker.pause_all": "worker:admin",
  "worker.resume_all": "worker:admin",
  "worker.drain": "worker:admin",
  "worker.list_images": "worker:status",
  "worker.pull_image": "worker:admin",
  "worker.import_image": "worker:admin",
  "worker.remove_image": "worker:admin",
} as const satisfies Record<string, Scope>;
export type WorkerMethod = keyof typeof WORKER_METHODS;

/**
 * Methods of a worker that it passes on to the guest agent of one sandbox, after it has checked the lease: their parameters
 * are `{sandbox_id, epoch, params}`, their reply, bytes and events are the agent's, untouched. The scope is the agent method's.
 */
export const GUEST_ROUTES = {
  "worker.exec": "ExecCommand",
  "worker.exec_stream": "StreamOutput",
  "worker.start_process": "SpawnSession",
  "worker.wait_process": "WaitSession",
  "worker.signal_process": "KillSession",
  "worker.list_processes": "ListSessions",
  "worker.write_input": "WriteInput",
  "worker.close_input": "CloseInput",
  "worker.resize_terminal": "ResizeTerminal",
  "worker.read_file": "ReadFile",
  "worker.write_file": "WriteFile",
  "worker.stat_file": "Stat",
  "worker.list_files": "ListDir",
  "worker.glob_files": "Glob",
  "worker.make_dir": "MakeDir",
  "worker.move_file": "Move",
  "worker.delete_file": "Remove",
  "worker.chmod_file": "Chmod",
  "worker.chown_file": "Chown",
  "worker.get_xattrs": "GetXattrs",
  "worker.set_xattr": "SetXattr",
  "worker.remove_xattr": "RemoveXattr",
  "worker.digest_file": "Digest",
  "worker.open_upload": "OpenUpload",
  "worker.write_upload": "WriteUpload",
  "worker.get_upload": "GetUpload",
  "worker.commit_upload": "CommitUpload",
  "worker.cancel_upload": "CancelUpload",
  "worker.read_tree": "ReadTree",
  "worker.write_tree": "WriteTree",
  "worker.search_files": "Search",
  "worker.replace_in_files": "Replace",
  "worker.open_watch": "OpenWatch",
  "worker.read_watch": "ReadWatch",
  "worker.close_watch": "CloseWatch",
  "worker.list_ports": "ListPorts",
  "worker.dial": "Dial",
  "worker.stats": "Stats",
  "worker.shutdown_agent": "Shutdown",
} as const satisfies Record<`worker.${string}`, GuestMethod>;
export type GuestRouteMethod = keyof typeof GUEST_ROUTES;

/** Methods of a control plane that workers call, and the scope each needs. */
export const CONTROL_METHODS = {
  "control.heartbeat": "worker:heartbeat",
  "control.challenge": "worker:heartbeat",
  "control.renew": "worker:heartbeat",
  "control.report": "worker:lease",
  "control.processes": "worker:lease",
  "control.port_access": "worker:lease",
} as const satisfies Record<string, Scope>;
export type ControlMethod = keyof typeof CONTROL_METHODS;
