export { Caisson, DEFAULT_URL, type CaissonOptions } from "./caisson.ts";
export { Sandbox, type ClientOptions, type ListOptions } from "./sandbox.ts";
export type { CallOptions } from "./call-options.ts";
// Commands
export type { Commands } from "./commands.ts";
export type { Command } from "./exec-body.ts";
export type { CommandEvent, CommandExit, OutputStream } from "./command-event.ts";
export type {
  AttachOptions,
  KillOptions,
  ProcessLimits,
  ProcessOptions,
  RunOptions,
  SpawnOptions,
  StreamOptions,
} from "./command-options.ts";
export type { CommandResult } from "./command-result.ts";
// Processes and terminals
export type { Processes, TerminalSize } from "./processes.ts";
export type { Pty } from "./pty.ts";
export type { Terminal } from "./terminal.ts";
export type { ConnectTerminal, CreateTerminal, TerminalEvent, TerminalOptions } from "./terminal-options.ts";
// Git
export { GitError, type Git } from "./git.ts";
export type { CloneOptions, GitAuthor, GitCredentials, GitFileStatus, GitOptions, GitStatus, SyncOptions } from "./git-options.ts";
// Code
export type { Code } from "./code.ts";
export type {
  CodeEnd,
  CodeEvent,
  CodeLanguage,
  CodeOutcome,
  CodeResult,
  CreateContextOptions,
  RunCodeOptions,
  StreamCodeOptions,
} from "./code-options.ts";
// Files
export type { Files } from "./files.ts";
export type { FileOptions, ReadOptions, WriteOptions } from "./file-options.ts";
export type { Download } from "./file-download.ts";
export type { UploadOptions, UploadProgress } from "./resumable-upload.ts";
export type { SearchMatch, SearchOptions, SearchSummary } from "./file-search.ts";
export type { WatchItem, WatchOptions } from "./file-watch.ts";
export type { Content, HttpClient } from "./http-client.ts";
// Ports
export { Ports, type ConnectPortOptions } from "./ports.ts";
export type { PortConnection } from "./port-connection.ts";
// Images, providers, workers, events
export type { ImageOptions, Images } from "./images.ts";
export type { Providers } from "./providers.ts";
export type { ListWorkersOptions, Workers } from "./workers.ts";
export type { EventFilter, EventOrGap, Events } from "./events.ts";
export type { Webhooks } from "./webhooks.ts";
export { verifyWebhook, type WebhookHeaders, type WebhookMessage } from "./verify-webhook.ts";
// Errors
export { CaissonApiError } from "./api-error.ts";
export { CommandFailedError, CommandTimeoutError } from "./command-error.ts";
// Data of the API
export type {
  AddWorker,
  Amounts,
  CodeContext,
  CodeError,
  CreateSandbox,
  CreateWebhook,
  CreateToken,
  ErrorCode,
  Event,
  EventGap,
  EventType,
  ExecLogEntry,
  FileInfo,
  FileList,
  WorkerImage as Image,
  Placement,
  Port,
  PortToken,
  PortVisibility,
  Process,
  ProviderReport,
  Replaced,
  Sandbox as SandboxInfo,
  SandboxStats,
  UpdateWebhook,
  Webhook,
  WebhookDelivery,
  WebhookWithSecret,
  Worker,
  WorkerInvitation,
  SignedUrl,
  Token,
  Unpacked,
  WrittenFile,
} from "@caisson/contract";
