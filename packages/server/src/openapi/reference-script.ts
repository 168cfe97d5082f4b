import Fastify from "fastify";

/**
 * The program of the reference page, from the installed package. The package is large and gives it only through a plugin,
 * so it is loaded when somebody first looks, and asked once.
 */
export async function loadReferenceScript(): Promise<Buffer> {
  const { default: plugin } = await import("@scalar/fastify-api-reference");
  const app = Fastify();
  await app.register(plugin, { routePrefix: "/", configuration: { content: {} } });
  const { statusCode, rawPayload } = await app.inject("/js/scalar.js");
  await app.close();
  if (statusCode !== 200) throw new Error(`The reference page's program was answered with ${statusCode}.`);
  return rawPayload;
}
