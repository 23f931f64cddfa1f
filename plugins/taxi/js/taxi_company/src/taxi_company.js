/**
 * The name of a taxi company, cleaned, and the bucket that a model embeds it by.
 *
 * The city's records write one company in many ways: `2733 - 74600 Benny Jona`, `Benny Jona, Inc.`, `BENNY  JONA`.
 */
import { BadParameter, transform } from "../sdk/lockstep_plugin/index.js";
import { ALPHANUMERIC } from "./alphanumeric.js";

const LEGAL_FORMS = new Set(["inc", "corp", "co"]);
const LICENCE = /^[0-9]+ - [0-9]+(?: (.*))?$/s;
/** Unicode's White_Space; `trim` would take U+FEFF as well and leave U+0085. */
const SPACE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const ENDS = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, "g");
const WORDS = new RegExp(`[^${SPACE}]+`, "g");
/** Letters and digits of all scripts, by one table in every language: the engine has no `\p{Alphabetic}`. */
const DROPPED = new RegExp(`[^${ALPHANUMERIC.replace(/[0-9a-f]+/g, "\\u{$&}").replaceAll(" ", "")}${SPACE}]+`, "gu");

export default transform({
  name: "taxi_company",
  version: "1.0.0",
  doc: "The company's name without licence number, punctuation and legal form; and its hash bucket.",
  features: { company_name: "string" },
  outputs: { company_clean: "string", company_bucket: "int32" },
  parameters: { buckets: { type: "int64", default: 64, doc: "Number of buckets, 1 to 2147483647." } },
  check({ buckets }) {
    if (buckets < 1n || buckets > 0x7fff_ffffn) {
      throw new BadParameter("buckets", `${buckets} is not between 1 and 2147483647`);
    }
  },
  row({ company_name }, { buckets }) {
    const name = clean(company_name);
    return { company_clean: name, company_bucket: Number(fnv1a(name) % buckets) };
  },
});

/** `"2733 - 74600 Benny Jona, Inc."` becomes `"benny jona"`. */
export function clean(name) {
  const lower = name.toLowerCase().replace(ENDS, "");
  const licence = LICENCE.exec(lower);
  const rest = licence === null ? lower : licence[1] ?? "";
  const words = rest.replace(DROPPED, "").match(WORDS) ?? [];
  while (LEGAL_FORMS.has(words.at(-1))) words.pop();
  return words.join(" ");
}

/** FNV-1a in two halves of 32 bits, which is quicker than a `bigint` for each byte. */
export function fnv1a(text) {
  let high = 0xcbf2_9ce4, low = 0x8422_2325;
  for (const byte of new TextEncoder().encode(text)) {
    // Times 2^40 + 0x1b3; no product reaches 2^53.
    low = (low ^ byte) >>> 0;
    const product = low * 0x1b3;
    high = (high * 0x1b3 + Math.floor(product / 2 ** 32) + ((low << 8) >>> 0)) >>> 0;
    low = product >>> 0;
  }
  return (BigInt(high) << 32n) | BigInt(low);
}
