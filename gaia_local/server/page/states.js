// @ts-check
// The states' signs and order: made by `make states` from gaia_local/pictures/states.py.

/** The side of the square that signs lie in. */
export const SIGN_SIZE = 16;

/**
 * State → its sign: paths, each with its class and its data.
 * @type {Record<string, [string, string][]>}
 */
export const SIGNS = {
  waiting: [
    ["dashed", "M8 2A6 6 0 1 1 8 14A6 6 0 1 1 8 2Z"],
  ],
  ready: [
    ["ring", "M8 2A6 6 0 1 1 8 14A6 6 0 1 1 8 2Z"],
    ["core", "M6.6 5.3 11 8 6.6 10.7Z"],
  ],
  queued: [
    ["ring", "M8 2A6 6 0 1 1 8 14A6 6 0 1 1 8 2Z"],
    ["ink", "M8 4.8V8.2L10.4 9.8"],
  ],
  running: [
    ["track", "M8 2A6 6 0 1 1 8 14A6 6 0 1 1 8 2Z"],
    ["turning", "M8 2A6 6 0 0 1 14 8"],
    ["core", "M8 5.6A2.4 2.4 0 1 1 8 10.4A2.4 2.4 0 1 1 8 5.6Z"],
  ],
  complete: [
    ["disc", "M8 1A7 7 0 1 1 8 15A7 7 0 1 1 8 1Z"],
    ["mark", "M4.8 8.3 7 10.5 11.3 5.8"],
  ],
  reused: [
    ["disc", "M8 1A7 7 0 1 1 8 15A7 7 0 1 1 8 1Z"],
    ["mark", "M10.9 6.8A3.2 3.2 0 1 0 11 9.3M11.2 4.4V6.9H8.7"],
  ],
  error: [
    ["disc", "M8 1A7 7 0 1 1 8 15A7 7 0 1 1 8 1Z"],
    ["mark", "M5.4 5.4 10.6 10.6M10.6 5.4 5.4 10.6"],
  ],
  exception: [
    ["disc", "M8 1.2 15.2 14H.8Z"],
    ["mark", "M8 6V9.4M8 11.6V11.7"],
  ],
  unfit: [
    ["disc", "M8 1A7 7 0 1 1 8 15A7 7 0 1 1 8 1Z"],
    ["mark", "M6 6.4A2 2 0 1 1 8 8.4V9.2M8 11.6V11.7"],
  ],
  cancelled: [
    ["disc", "M8 1A7 7 0 1 1 8 15A7 7 0 1 1 8 1Z"],
    ["mark", "M6 6H10V10H6Z"],
  ],
  interrupted: [
    ["disc", "M8 1A7 7 0 1 1 8 15A7 7 0 1 1 8 1Z"],
    ["mark", "M8 4.6V7.2M8 9.2V11.4M5 8H6.2M9.8 8H11"],
  ],
  initialized: [
    ["ring", "M8 2A6 6 0 1 1 8 14A6 6 0 1 1 8 2Z"],
  ],
  halted: [
    ["disc", "M8 1A7 7 0 1 1 8 15A7 7 0 1 1 8 1Z"],
    ["mark", "M6.2 5.2V10.8M9.8 5.2V10.8"],
  ],
  incomplete: [
    ["ring", "M8 2A6 6 0 1 1 8 14A6 6 0 1 1 8 2Z"],
    ["core", "M8 2A6 6 0 0 0 8 14Z"],
  ],
};

/** The states of attempts in the order of legends. */
export const ORDER = [
  "reused", "complete", "running", "queued", "ready", "waiting",
  "unfit", "error", "exception", "cancelled", "interrupted",
];

/** The same states, those first that want attention. */
export const URGENCY = [
  "error", "exception", "unfit", "running", "queued", "ready",
  "waiting", "interrupted", "cancelled", "complete", "reused",
];

/** The hue of the first Command, and how far the next one's is, in degrees. */
export const COMMAND_HUE = { first: 210, turn: 137.508 };
