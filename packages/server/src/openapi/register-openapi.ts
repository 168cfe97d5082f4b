import fastifySwagger, { type FastifyDynamicSwaggerOptions } from "@fastify/swagger";
import { jsonSchemaTransform, jsonSchemaTransformObject } from "fastify-type-provider-zod";
import { stringify } from "yaml";
import { z } from "zod";
import type { App } from "../http/app.ts";
import type { RouteConfig } from "../http/route-config.ts";
import { EXAMPLES } from "./examples.ts";
import { shapeDocument } from "./shape-document.ts";

type Transform = NonNullable<FastifyDynamicSwaggerOptions["transform"]>;
type TransformObject = NonNullable<FastifyDynamicSwaggerOptions["transformObject"]>;

const DESCRIPTION = `Caisson gives AI agents isolated computers on machines you own.

Every request but the probes needs a key, as \`X-API-Key\` or \`Authorization: Bearer\`. Unknown fields are refused, in bodies and in queries. Every error is a problem document (RFC 9457) whose \`code\` programs decide by. Durations read \`30s\`, \`5m\`, \`1h30m\`.`;

const TAGS = [
  { name: "Sandboxes", description: "Isolated computers, from creation to their end" },
  { name: "Processes", description: "Commands in a sandbox: run, stream, follow, feed, signal" },
  { name: "Files", description: "Files in a sandbox, of any size" },
  { name: "Ports", description: "Servers in a sandbox: what listens, who may see it, connections to it" },
  { name: "Images", description: "What sandboxes are made from" },
  { name: "Workers", description: "Machines that run sandboxes: join, drain, remove" },
  { name: "System", description: "The server, and what it can do" },
];

const SECURITY_SCHEMES = {
  ApiKey: { type: "apiKey", in: "header", name: "X-API-Key", description: "The API key" },
  Bearer: { type: "http", scheme: "bearer", description: "Either key as a bearer token" },
  AdminKey: { type: "apiKey", in: "header", name: "X-Admin-API-Key", description: "The admin key; it may do all" },
} as const;

/** Security of a route by who may call it. */
const SECURITY = {
  open: [],
  api: [{ ApiKey: [] }, { Bearer: [] }, { AdminKey: [] }],
  admin: [{ AdminKey: [] }, { Bearer: [] }],
} as const;

/** Describes one route: what its schema says, who may call it, and a body of bytes where it takes one. */
const transform: Transform = (input) => {
  const { schema, url } = jsonSchemaTransform(input as never) as { schema: Record<string, unknown>; url: string };
  const { access = "api", rawBody } = (input.route.config ?? {}) as Partial<RouteConfig>;
  const body = (input.schema as { body?: unknown } | undefined)?.body;
  if (body instanceof z.ZodObject && Object.keys(body.shape as object).length === 0) delete schema["body"];
  if (rawBody !== undefined) {
    schema["body"] = { type: "string", format: "binary" };
    schema["consumes"] = [rawBody];
  }
  schema["security"] = SECURITY[access];
  return { schema, url };
};

/** Adds the examples and tidies the whole. */
const transformObject: TransformObject = (input) => {
  const document = shapeDocument(jsonSchemaTransformObject(input as never) as never) as unknown as {
    paths: Record<string, Record<string, Operation>>;
  };
  for (const operation of Object.values(document.paths).flatMap((path) => Object.values(path))) {
    const examples = EXAMPLES[operation.operationId];
    const media = operation.requestBody?.content["application/json"];
    if (examples !== undefined && media !== undefined)
      media["examples"] = Object.fromEntries(Object.entries(examples.bodies).map(([summary, value]) => [key(summary), { summary, value }]));
  }
  return document as never;
};

interface Operation {
  readonly operationId: string;
  readonly requestBody?: { readonly content: Record<string, Record<string, unknown>> };
}

function key(summary: string): string {
  return summary.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
}

/** Lets the application describe itself. Must come before its routes. */
export async function registerOpenapi(app: App, version: string): Promise<void> {
  await app.register(fastifySwagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Caisson",
        version,
        description: DESCRIPTION,
        license: { name: "Apache-2.0", identifier: "Apache-2.0" } as never,
      },
      servers: [{ url: "/", description: "This server" }],
      tags: TAGS,
      components: { securitySchemes: SECURITY_SCHEMES },
    },
    convertConstToEnum: false,
    transform,
    transformObject,
  });
}

/** The document as YAML, the form that is kept under version control. */
export function openapiYaml(app: App): string {
  return stringify(app.swagger(), { aliasDuplicateObjects: false, lineWidth: 0 });
}
