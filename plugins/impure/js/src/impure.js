/** Asks for everything that a transform cannot have, and gives what it is told instead. For tests. */
import { Refuse, transform } from "../sdk/lockstep_plugin/index.js";

const REQUESTS = {
  clock: () => Date.now(),
  now: () => new Date(),
  "date text": () => Date(),
  constructor_: () => new (new Date(0).constructor)(),
  performance: () => performance.now(),
  random: () => Math.random(),
  uuid: () => crypto.randomUUID(),
  print: () => console.log("a line"),
  fetch: () => fetch("http://127.0.0.1/"),
  timer: () => setTimeout(() => {}, 0),
  collected: () => new WeakRef({}),
  // These are pure.
  "given time": () => new Date(0).toISOString(),
  "same class": () => new Date(0) instanceof Date,
};

export default transform({
  name: "impure",
  version: "1.0.0",
  doc: "The answer to a request, or the advice that it was given instead.",
  features: { request: "string" },
  outputs: { answer: "string", same: "string" },
  row({ request }) {
    if (request === "refuse") throw new Refuse(1_234, "not today");
    if (request === "divide") return { answer: String(1n / 0n), same: request };
    try {
      return { answer: request in REQUESTS ? String(REQUESTS[request]()) : request, same: request };
    } catch (error) {
      return { answer: `${error.name}: ${error.message}`, same: request };
    }
  },
});
