import fc from "fast-check";
import { expect, it } from "vitest";
import { EVENT_TYPES, eventTypesOf, followEventsQuerySchema, listEventsQuerySchema, resourceTypeOf, RESOURCE_TYPES } from "./event.ts";

const type = fc.constantFrom(...EVENT_TYPES);
const prefix = fc.constantFrom(...RESOURCE_TYPES).map((kind) => `${kind}.*`);

it("patterns name exactly the types that they say", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(type, prefix, fc.constant("*")), { minLength: 1 }), type, (patterns, one) => {
      const said = patterns.includes(one) || patterns.includes(`${resourceTypeOf(one)}.*`) || patterns.includes("*");
      expect(eventTypesOf(patterns)?.has(one)).toBe(said);
    }),
  );
});

it("no pattern names every type, a wrong one nothing", () => {
  expect(eventTypesOf([])?.size).toBe(EVENT_TYPES.length);
  for (const wrong of ["", "sandbox", "sandbox.", "sandbox.c*", "*.created", "SANDBOX.*", "none.*", "sandbox.created.*", ".*", "**"])
    expect(eventTypesOf(["sandbox.created", wrong])).toBeUndefined();
});

it("queries take patterns and refuse what names nothing", () => {
  expect(followEventsQuerySchema.safeParse({ type: "sandbox.*,process.exited", after: "7" }).data).toMatchObject({ after: 7 });
  expect(listEventsQuerySchema.safeParse({ type: "sandbox.*,nothing" }).error?.issues[0]?.path).toEqual(["type"]);
  expect(listEventsQuerySchema.safeParse({ after: "1", before: "2" }).success).toBe(false);
});
