// The shapes that the status page's modules hand to each other. Nothing of it is shipped.

/** The latest attempt at a Step, as the stream tells it; times in seconds since the epoch. */
interface StepNews {
  state: string;
  task: string | null;
  started: number | null;
  ended: number | null;
  reused?: boolean;
}

interface GraphStep { step: string; command: string; state: string }
interface GraphEdge { from: string; to: string; keys: string[] }

/** Steps (indices into the graph's) that are drawn as one, and groups within. */
interface Group { id: string; name: string; steps: number[]; groups: Group[] }

/** One way to group a workflow: `by` is its id, `label` its name for the reader. */
interface Grouping { by: string; label: string; groups: Group[] }

/** The answer of `GET /api/workflows/NAME/graph`. */
interface Graph {
  workflow: string;
  state: string;
  version: string;
  steps: GraphStep[];
  edges: GraphEdge[];
  /** What each Step is called where there is little room, in the order of `steps`. */
  labels: string[];
  groupings: Grouping[];
  /** The `by` of the grouping that suits the graph; null if each Step is drawn by itself. */
  suggested: string | null;
}

/** One workflow in the store. A Step's news is the same object until it changes. */
interface Slice {
  name: string;
  /** The entry of the list of workflows; null until the first news. */
  entry: Record<string, any> | null;
  graph: Graph | null;
  steps: ReadonlyMap<string, StepNews>;
  /** The answer of `GET /api/workflows/NAME`. */
  about: Record<string, any> | null;
}

/** What a view may ask of the page around it. */
interface Acts {
  /** Go to a Step (null: to the workflow alone); `query` are the parameters of the address. */
  open(step: string | null, query?: Record<string, string>): void;
  /** Run these Steps again, after a question where more than they would run. */
  rerun(steps: string[]): void;
}

/** A tab of a workflow, or a Step's panel. */
interface View {
  element: HTMLElement;
  /** Called with each change, only while it is in sight, at most once for each frame. */
  show(slice: Slice, query: Record<string, string>): void;
  close(): void;
}

/** What one attempt took; null where nobody could measure it. */
interface Usage {
  staging: number | null; running: number | null; publishing: number | null;
  cpu_user: number | null; cpu_system: number | null; memory: number | null;
  read: number | null; written: number | null; received: number | null; sent: number | null;
}

/** One attempt of the answer of `GET /api/workflows/NAME/timeline`. */
interface TimelineAttempt {
  step: string;
  command: string | null;
  task: string | null;
  state: string;
  reason: string;
  worker: number | null;
  queued: number;
  started: number | null;
  ended: number | null;
  exit_code: number | null;
  message: string | null;
  usage: Usage | null;
  reused?: { workflow: string; step: string };
}

/** One row: indices into `steps` and `texts`; times in tenths of milliseconds. */
type PackedAttempt = [step: number, command: number | null, state: number, reason: number,
  worker: number | null, queued: number, started: number | null, ended: number | null,
  code: number | null, message: number | null, reused?: [number, number] | null,
  usage?: (number | null)[]];
interface PackedTimeline {
  workflow: string; now: number; zero: number; steps: [number, string][]; texts: string[];
  attempts: PackedAttempt[];
}

/** An attempt that began; `left` and `right` are places on the axis, in seconds. */
interface Bar {
  attempt: TimelineAttempt; end: number; state: string; left: number; right: number;
  /** The number of its Command. */
  command: number;
  lane: number; row: number;
}
interface Lane { kind: number; name: string; about: string; rows: Bar[][]; number: number }
interface Lanes {
  axis: import("../../gaia_local/server/page/axis.js").Axis;
  lanes: Lane[];
  commands: string[];
  counts: Map<string, number>;
  /** Of all attempts, those that never began included. */
  number: number;
  running: boolean;
}
/** What is drawn as one; `command` is -1 if several have a part in it. */
interface Block { bar: Bar; left: number; right: number; number: number; command: number }
interface CommandFigures {
  command: string; attempts: number; failed: number; seconds: number; median: number | null;
  most: number | null; cpu: number | null; memory: number | null;
}
interface Palette {
  text: string; muted: string; line: string; ground: string; band: string; accent: string;
  font: string; area: string; edge: string; mixed: string; states: Record<string, string>;
}
/** What is painted of a timeline: sizes in pixels, `from` and `to` are places on the axis. */
interface Scene {
  lanes: Lanes; colours: Palette; width: number; height: number;
  /** The width of the lanes' names. */
  labels: number;
  /** How far it is scrolled down. */
  top: number;
  from: number; to: number; current: Bar | null;
  fits: (bar: Bar) => boolean;
}
