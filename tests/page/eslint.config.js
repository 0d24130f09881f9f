// The rules for the status page's modules and for their tests. Run from the repository's root.

import js from "@eslint/js";
import globals from "globals";

const markup = ["innerHTML", "outerHTML", "insertAdjacentHTML"].map((property) => (
  { property, message: "Names and logs are text: make elements with dom.js." }));

export default [
  { ignores: ["**/vendor/**", "**/node_modules/**"] },
  js.configs.recommended,
  {
    rules: {
      "eqeqeq": "error",
      "max-len": ["error", { code: 100, ignoreUrls: true }],
      "no-control-regex": "off", // Logs hold control characters.
      "no-implicit-coercion": "error",
      "no-restricted-properties": ["error", ...markup],
      "no-shadow": "error",
      "no-var": "error",
      "prefer-const": "error",
    },
  },
  {
    files: ["gaia_local/server/page/**/*.js"],
    languageOptions: { globals: { ...globals.browser, ...globals.worker } },
  },
  { files: ["tests/page/**/*.js"], languageOptions: { globals: globals.node } },
];
