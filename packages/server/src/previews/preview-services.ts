import type { DataOperations } from "@caisson/control";
import type { DataServices } from "../server-options.ts";
import type { Siblings } from "../siblings/siblings.ts";
import type { PreviewOptions } from "./preview-options.ts";

/** What shows the ports of sandboxes, on a control plane or on a worker. */
export interface PreviewServices extends Pick<DataServices, "tokens" | "keys" | "logger" | "clock" | "random" | "limits"> {
  readonly operations: Pick<DataOperations, "withGuest" | "portAccess">;
  readonly previews: PreviewOptions;
  /** Who else may have the link that a request needs. Default: nobody. */
  readonly siblings?: Siblings;
}
