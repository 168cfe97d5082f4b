import { Sandbox } from "@caisson/sdk";
import type { Sandbox as SandboxInfo } from "@caisson/contract";
import type { ApiAccess } from "../harness/api-access.ts";

/** Where the sandboxes of the suite live, and how to reach them. */
export class SandboxTarget {
  readonly api: ApiAccess;
  readonly #where: Where;

  constructor(api: ApiAccess, where: Where) {
    this.api = api;
    this.#where = where;
  }

  /** A sandbox there. */
  async create(request: object = {}): Promise<Sandbox> {
    const { id } = await this.createInfo(request);
    return Sandbox.connect(id, { client: this.api.client() });
  }

  /** The same, as the API tells of it. */
  async createInfo(request: object = {}): Promise<SandboxInfo> {
    return this.api.json<SandboxInfo>("POST", "/sandboxes", { ...this.#where.request, ...request });
  }

  /** Folder below which the worker keeps what it has of the sandboxes. */
  get workerDir(): string {
    return this.#where.workerDir;
  }

  /** Domain that sandboxes there are shown below by their worker itself; null where control planes do it. */
  get previewDomain(): string | null {
    return this.#where.previewDomain;
  }

  /** What the servers and workers of the target wrote, and where they keep things: no secret may be there. */
  get traces(): Traces {
    return this.#where.traces();
  }
}

export interface Where {
  /** What each request to create a sandbox has besides. */
  readonly request: { readonly worker_id?: string; readonly provider?: string };
  readonly workerDir: string;
  readonly previewDomain: string | null;
  readonly traces: () => Traces;
}

export interface Traces {
  readonly output: string;
  readonly folders: readonly string[];
}
