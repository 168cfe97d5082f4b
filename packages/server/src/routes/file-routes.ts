import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import {
  CaissonError,
  FILE_JSON_LIMIT,
  chmodFileSchema,
  chownFileSchema,
  deleteFileQuerySchema,
  fileInfoSchema,
  fileListSchema,
  globQuerySchema,
  listFilesQuerySchema,
  makeDirSchema,
  moveFileSchema,
  statFileQuerySchema,
  writeFileSchema,
  writtenFileSchema,
} from "@caisson/contract";
import { z } from "zod";
import { collectEntries } from "../files/collect-entries.ts";
import { fileOptions } from "../files/file-options.ts";
import { toFileInfo } from "../files/file-view.ts";
import { noting } from "../files/noting.ts";
import { guestPatience } from "../files/patience.ts";
import type { App } from "../http/app.ts";
import type { DataServices } from "../server-options.ts";
import { errors, sandboxParams } from "./route-schema.ts";

const tags = ["Files"];

/** Largest body of a file as JSON, which may write a byte six times as long. */
const FILE_BODY_BYTES = 67_108_864;

/** Entries of a glob that asks for no limit. */
const GLOB_LIMIT = 10_000;

const done = z.null().describe("Done");

/** Files of a sandbox, as far as they are JSON. */
export function fileRoutes(app: App, services: DataServices): void {
  const { operations, limits } = services;

  app.route({
    method: "POST",
    url: "/sandboxes/:id/files",
    bodyLimit: FILE_BODY_BYTES,
    config: { access: "api" },
    schema: {
      tags,
      operationId: "writeFile",
      summary: "Write a small file",
      description: `At most ${FILE_JSON_LIMIT} bytes; \`PUT\` takes any size. The file is replaced whole or not at all; missing folders are made.`,
      params: sandboxParams,
      body: writeFileSchema,
      response: { 200: writtenFileSchema.describe("The file"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const bytes = body.content === undefined ? Buffer.from(body.content_base64 ?? "", "base64") : Buffer.from(body.content, "utf8");
      if (bytes.length > FILE_JSON_LIMIT)
        throw new CaissonError("payload_too_large", `The content has ${bytes.length} bytes; as JSON it may have ${FILE_JSON_LIMIT}.`);
      const entry = await operations.withGuest(
        params.id,
        "file.write",
        (guest) => guest.writeFile(body.path, Readable.from([bytes]), { ...fileOptions(scope, body) }),
        { ...scope.bound, detail: body.path },
      );
      return reply.send({ ...toFileInfo(entry), sha256: createHash("sha256").update(bytes).digest("hex") });
    },
  });

  app.route({
    method: "DELETE",
    url: "/sandboxes/:id/files",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "deleteFile",
      summary: "Delete a file or folder",
      description: "A folder that is not empty needs `recursive`.",
      params: sandboxParams,
      querystring: deleteFileQuerySchema,
      response: { 204: done, ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query } = request;
      const options = { ...fileOptions(scope, query), recursive: query.recursive === "true" };
      await operations.withGuest(params.id, "file.delete", (guest) => guest.remove(query.path, options), {
        ...scope.bound,
        detail: query.path,
      });
      return reply.code(204).send(null);
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/files/list",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "listFiles",
      summary: "List a folder",
      description: `Default: \`/\`. At most ${limits.listEntries} entries; \`truncated\` says that there are more. Symlinks are not followed.`,
      params: sandboxParams,
      querystring: listFilesQuerySchema,
      response: { 200: fileListSchema.describe("The entries"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query } = request;
      const path = query.path ?? "/";
      const options = { ...fileOptions(scope, query), depth: query.depth ?? 1 };
      const list = await operations.withGuest(
        params.id,
        "file.list",
        (guest) => collectEntries(guest.listDir(path, options), limits.listEntries, guestPatience(services, scope.signal, "a listing")),
        { ...scope.bound, detail: path },
      );
      return reply.send(list);
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/files/stat",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "statFile",
      summary: "Get a file's facts",
      description: "Of a symlink itself, unless `follow` is set.",
      params: sandboxParams,
      querystring: statFileQuerySchema,
      response: { 200: fileInfoSchema.describe("The entry"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query } = request;
      const options = { ...fileOptions(scope, query), follow: query.follow === "true" };
      const entry = await operations.withGuest(params.id, "file.stat", (guest) => guest.stat(query.path, options), {
        ...scope.bound,
        detail: query.path,
      });
      return reply.send(toFileInfo(entry));
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/files/glob",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "globFiles",
      summary: "Find files by pattern",
      description: `\`*\`, \`?\`, \`[…]\` and \`**\`, below \`cwd\` (default \`/\`). At most \`limit\` entries (default ${GLOB_LIMIT}); \`truncated\` says that there are more.`,
      params: sandboxParams,
      querystring: globQuerySchema,
      response: { 200: fileListSchema.describe("The entries that match"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query } = request;
      const limit = Math.min(query.limit ?? GLOB_LIMIT, limits.listEntries);
      const options = { ...fileOptions(scope, query), limit, ...(query.cwd === undefined ? {} : { cwd: query.cwd }) };
      const list = await operations.withGuest(
        params.id,
        "file.glob",
        async (guest) => {
          let cut = false;
          const found = await collectEntries(
            noting(guest.glob(query.pattern, options), ({ truncated }) => (cut = truncated)),
            limit,
            guestPatience(services, scope.signal, "a listing"),
          );
          return { items: found.items, truncated: found.truncated || cut };
        },
        { ...scope.bound, detail: query.pattern },
      );
      return reply.send(list);
    },
  });

  app.route({
    method: "POST",
    url: "/sandboxes/:id/files/move",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "moveFile",
      summary: "Move or rename",
      description: "What is at the new path is replaced, unless `overwrite` is false.",
      params: sandboxParams,
      body: moveFileSchema,
      response: { 204: done, ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const options = { ...fileOptions(scope, body), ...(body.overwrite === undefined ? {} : { overwrite: body.overwrite }) };
      await operations.withGuest(params.id, "file.move", (guest) => guest.move(body.old_path, body.new_path, options), {
        ...scope.bound,
        detail: body.old_path,
      });
      return reply.code(204).send(null);
    },
  });

  app.route({
    method: "POST",
    url: "/sandboxes/:id/files/chmod",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "chmodFile",
      summary: "Set a mode",
      params: sandboxParams,
      body: chmodFileSchema,
      response: { 204: done, ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const { mode = 0, ...options } = { ...fileOptions(scope, body), recursive: body.recursive === true };
      await operations.withGuest(params.id, "file.chmod", (guest) => guest.chmod(body.path, mode, options), {
        ...scope.bound,
        detail: body.path,
      });
      return reply.code(204).send(null);
    },
  });

  app.route({
    method: "POST",
    url: "/sandboxes/:id/files/chown",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "chownFile",
      summary: "Set an owner",
      params: sandboxParams,
      body: chownFileSchema,
      response: { 204: done, ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const options = { signal: scope.signal, recursive: body.recursive === true };
      await operations.withGuest(params.id, "file.chown", (guest) => guest.chown(body.path, body.owner, options), {
        ...scope.bound,
        detail: body.path,
      });
      return reply.code(204).send(null);
    },
  });

  app.route({
    method: "POST",
    url: "/sandboxes/:id/files/mkdir",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "makeDirectory",
      summary: "Make a folder",
      description: "And those above it, unless `parents` is false. One that is there already is fine.",
      params: sandboxParams,
      body: makeDirSchema,
      response: { 200: fileInfoSchema.describe("The folder, which was there"), 201: fileInfoSchema.describe("The folder"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const options = { ...fileOptions(scope, body), ...(body.parents === undefined ? {} : { parents: body.parents }) };
      const { made, entry } = await operations.withGuest(
        params.id,
        "file.mkdir",
        async (guest) => ({
          made: await guest.makeDir(body.path, options),
          entry: await guest.stat(body.path, { ...fileOptions(scope, { user: body.user }), follow: true }),
        }),
        { ...scope.bound, detail: body.path },
      );
      return reply.code(made ? 201 : 200).send(toFileInfo(entry));
    },
  });
}
