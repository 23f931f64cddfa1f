/**
 * What a transform cannot have is taken away: clock, randomness, output, network, timers.
 *
 * The sandbox would answer with what was true when the component was built, with the same "random" numbers after each
 * start, or with silence. Here each throws an error that says what to do instead. The component evaluates this module
 * before the plugin's own, so that nothing of it is baked in either.
 */
export class Impure extends Error {}
Impure.prototype.name = "Impure";

const CLOCK = 'a transform has no clock: declare time: "as-of" and read the input as_of of the row';
const CHANCE = "a transform has no random numbers: hash a column instead";
const OUTPUT = "a transform prints nowhere: return it as an output, or throw new Refuse(code, message) for the row";
const NETWORK = "a transform has no network: take what it needs as a feature, a request field or a parameter";
const TIMERS = "a transform has no timers: it computes its rows and returns them";
const MEMORY = "a transform cannot ask what was collected: two runs would differ";

function throwing(name, advice) {
  return function () {
    throw new Impure(`${name}: ${advice}`);
  };
}

/** Replaces a property for good. */
function close(owner, name, value) {
  Object.defineProperty(owner, name, { value, writable: false, configurable: false, enumerable: false });
}

/** The class as it is, but without the time that it takes from the clock. */
function dateWithoutNow(Plain) {
  const closed = new Proxy(Plain, {
    construct(target, values, newTarget) {
      if (values.length === 0) throw new Impure(`new Date(): ${CLOCK}`);
      return Reflect.construct(target, values, newTarget);
    },
    apply() {
      throw new Impure(`Date(): ${CLOCK}`);
    },
  });
  close(Plain, "now", throwing("Date.now", CLOCK));
  close(Plain.prototype, "constructor", closed);
  return closed;
}

close(globalThis, "Date", dateWithoutNow(Date));
close(Math, "random", throwing("Math.random", CHANCE));
close(globalThis, "performance", { now: throwing("performance.now", CLOCK) });
close(globalThis, "crypto", new Proxy({}, { get: (_, name) => throwing(`crypto.${String(name)}`, CHANCE)() }));
close(globalThis, "console", new Proxy({}, { get: (_, name) => throwing(`console.${String(name)}`, OUTPUT) }));
for (const name of ["fetch", "Request"]) close(globalThis, name, throwing(name, NETWORK));
for (const name of ["setTimeout", "setInterval", "queueMicrotask"]) close(globalThis, name, throwing(name, TIMERS));
for (const name of ["WeakRef", "FinalizationRegistry"]) close(globalThis, name, throwing(name, MEMORY));
