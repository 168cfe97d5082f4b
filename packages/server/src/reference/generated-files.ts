import { openapiYaml } from "../openapi/register-openapi.ts";
import { createTestServer } from "../testing/test-server.ts";
import { configurationPage } from "./configuration-page.ts";
import { errorsPage } from "./errors-page.ts";

/** Files that are made from tables and schemas, by their path in the repository. */
export async function generatedFiles(): Promise<Readonly<Record<string, string>>> {
  await using api = await createTestServer();
  return {
    "packages/server/openapi.gen.yaml": openapiYaml(api.server.app),
    "docs/errors.md": errorsPage(),
    "docs/configuration.md": configurationPage(),
  };
}
