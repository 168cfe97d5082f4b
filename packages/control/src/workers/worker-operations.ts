import type { ListWorkersQuery, Worker, WorkerPage } from "@caisson/contract";
import type { OperationOptions } from "../operations.ts";

/** What an admin may do with workers. `worker_not_found` for ids that never were. */
export interface WorkerOperations {
  /** By id. */
  list(query: ListWorkersQuery, options?: OperationOptions): Promise<WorkerPage>;
  get(id: string, options?: OperationOptions): Promise<Worker>;
  /** Keeps its sandboxes and takes no new ones, until `undrain`. Idempotent; it holds across restarts. */
  drain(id: string, options?: OperationOptions): Promise<Worker>;
  undrain(id: string, options?: OperationOptions): Promise<Worker>;
  /** Refuses its credentials from now on and ends its links; it must join again. */
  revoke(id: string, options?: OperationOptions): Promise<Worker>;
  /**
   * Removes a worker, revokes its credentials and ends its links. With sandboxes: `worker_in_use`, or with `force` they are
   * destroyed first, as far as the worker can be reached; the rest is destroyed by epoch should it ever return.
   */
  remove(id: string, options?: OperationOptions & { readonly force?: boolean }): Promise<Worker>;
}
