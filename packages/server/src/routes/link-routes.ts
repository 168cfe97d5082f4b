import { CaissonError, LINK_UPGRADE } from "@caisson/contract";
import type { App } from "../http/app.ts";

/** What asks for the address of links and is no link: those are taken before they come here. */
export function linkRoutes(app: App): void {
  app.route({
    method: "GET",
    url: "/link",
    config: { access: "open" },
    schema: { hide: true },
    handler: async (_request, reply) => {
      reply.header("upgrade", LINK_UPGRADE).code(426);
      throw new CaissonError("invalid_request", `Workers connect here, with Upgrade: ${LINK_UPGRADE}; nothing else does.`);
    },
  });
}
