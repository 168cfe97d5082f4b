import { expect, it } from "vitest";
import { previewsOf, previewUrl } from "./preview-options.ts";

const OWN = { domain: "preview.example.org", url: "https://preview.example.org" };
const ID = "sb1hfqv8k3m00a1b2c3d4e5";

it.each([
  ["has none", { previewDomain: null, previewUrl: null }, `https://80-${ID}.preview.example.org/`],
  [
    "has the control plane's",
    { previewDomain: "preview.example.org", previewUrl: "http://preview.example.org:9" },
    `https://80-${ID}.preview.example.org/`,
  ],
  ["serves its own", { previewDomain: "w1.example.org", previewUrl: "http://w1.example.org:7430" }, `http://80-${ID}.w1.example.org:7430/`],
  ["has an ingress of its own", { previewDomain: "w1.example.org", previewUrl: null }, `http://80-${ID}.w1.example.org/`],
])("the preview of a worker that %s", (_name, owner, url) => {
  expect(previewUrl(previewsOf(OWN, owner), ID, 80, 7423)).toBe(url);
});

it("is at the port that the server listens on unless told otherwise", () => {
  expect(previewUrl(previewsOf({ domain: "localhost" }, { previewDomain: "localhost", previewUrl: null }), ID, 80, 7423)).toBe(
    `http://80-${ID}.localhost:7423/`,
  );
});
