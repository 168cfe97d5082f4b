import type { TokenAction } from "@caisson/identity";
import type { RequestScope } from "./request-scope.ts";

/** Who may call a route: anyone, any key, or the admin key. */
export type Access = "open" | "api" | "admin";

/** What a route declares beside its schema. */
export interface RouteConfig {
  readonly access: Access;
  /** A request that may last as long as the client likes; it is ended first when the server closes. */
  readonly long?: true;
  /** Media type of a request body that is taken as raw bytes. */
  readonly rawBody?: string;
  /** A token for this action in the sandbox `:id`, as the query's `token`, does instead of a key; `scope.grant` says what it opens. */
  readonly token?: TokenAction;
  /** The route takes a protocol upgrade, and nothing else. */
  readonly upgrade?: true;
  /** Answered from the database alone: no link with the worker of the sandbox `:id` is needed. */
  readonly linkless?: true;
}

declare module "fastify" {
  interface FastifyContextConfig {
    access?: Access;
    long?: true;
    rawBody?: string;
    token?: TokenAction;
    upgrade?: true;
    linkless?: true;
  }
  interface FastifyRequest {
    /** What is known of this request beside HTTP. */
    scope: RequestScope;
  }
}
