import { createHash } from "node:crypto";
import { CaissonError, type Image, type WorkerImage } from "@caisson/contract";
import type { ImageOperations } from "@caisson/control";

/** Images that are only records. */
export function memoryImages(): ImageOperations {
  const images = new Map<string, WorkerImage>();
  const save = (name: string, source: Image["source"], digest: string | null, size: number): WorkerImage => {
    const image = {
      name,
      digest,
      source,
      size_bytes: size,
      created_at: new Date().toISOString(),
      sandboxes: 0,
      user: null,
      workdir: null,
      worker_id: "local",
    };
    images.set(name, image);
    return image;
  };
  save("host", "builtin", null, 0);
  return {
    list: async () => [...images.values()],
    pull: async (reference) => {
      if (reference.startsWith("missing")) throw new CaissonError("image_not_found", `No registry has ${reference}.`);
      return save(reference, "registry", `sha256:${"0".repeat(64)}`, 1);
    },
    importArchive: async (name, archive) => {
      const hash = createHash("sha256");
      let size = 0;
      for await (const bytes of archive) {
        hash.update(bytes);
        size += bytes.length;
      }
      return save(name, "import", `sha256:${hash.digest("hex")}`, size);
    },
    remove: async (name) => {
      if (!images.delete(name)) throw new CaissonError("image_not_found", `There is no image ${name}.`);
    },
  };
}
