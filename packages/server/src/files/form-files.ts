import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Busboy, type BusboyFileStream, type BusboyInstance } from "@fastify/busboy";
import { CaissonError, guestPathSchema, isCaissonError } from "@caisson/contract";

/** Most files of one form. */
export const FORM_FILES = 1_000;

const LIMITS = { files: FORM_FILES, fields: FORM_FILES, fieldSize: 4_096, fieldNameSize: 4_096, headerPairs: 16, headerSize: 16_384 };

/** Puts one file of a form where it belongs; all of its content must be read. */
export type WriteFile<T> = (path: string, content: AsyncIterable<Uint8Array>) => Promise<T>;

/**
 * Reads a multipart form and writes its files one after the other, at the pace of the slower side. A file's path is the
 * value of the field `path` right before it, else the name of its own field. A form that breaks off, or holds anything
 * else, fails; the file it broke in is not written, those before it are.
 */
export async function writeForm<T>(body: AsyncIterable<Uint8Array>, contentType: string, write: WriteFile<T>): Promise<T[]> {
  const form = openForm(contentType);
  const written: T[] = [];
  let last: BusboyFileStream | undefined;
  let named: string | undefined;
  let writing: Promise<void> = Promise.resolve();
  const fail = (error: Error): void => {
    form.destroy(error);
    // Those before it came whole.
    last?.destroy(error);
  };
  form.on("field", (name, value, nameCut, valueCut) => {
    if (name !== "path" || nameCut || valueCut || named !== undefined)
      return fail(wrong("a form holds files, each with at most one field path before it"));
    named = value;
    return undefined;
  });
  form.on("file", (name, file) => {
    last = file;
    // A form that ends too early tells it here, whether or not somebody reads the file yet.
    file.on("error", (error) => file.destroy(error));
    const path = guestPathSchema.safeParse(named ?? name);
    named = undefined;
    writing = writing.then(async () => {
      if (!path.success) throw wrong("the path of a file, from the field path or the name of its field, must be absolute");
      written.push(await write(path.data, file));
    });
    writing.catch(fail);
  });
  form.on("filesLimit", () => fail(new CaissonError("payload_too_large", `A form may hold ${FORM_FILES} files.`)));
  form.on("fieldsLimit", () => fail(new CaissonError("payload_too_large", `A form may hold ${FORM_FILES} fields.`)));
  const read = pipeline(Readable.from(body, { objectMode: false }), form);
  try {
    await read;
    if (named !== undefined) throw wrong("the last field path has no file");
  } catch (error) {
    fail(error as Error);
    await writing.catch(() => undefined);
    throw isCaissonError(error) ? error : new CaissonError("invalid_request", "The form is damaged or cut off.", { cause: error });
  }
  await writing;
  return written;
}

function openForm(contentType: string): BusboyInstance {
  try {
    return new Busboy({ headers: { "content-type": contentType }, preservePath: true, limits: LIMITS });
  } catch (cause) {
    throw wrong("the Content-Type must be multipart/form-data with a boundary", cause);
  }
}

function wrong(message: string, cause?: unknown): CaissonError {
  return new CaissonError("invalid_request", `The form was refused: ${message}.`, { errors: [{ path: "", message }], cause });
}
