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
  /** Of what `about` has as waiting inputs, those that no Step makes. */
  missing: readonly string[];
  /** The graph's version that the stream told last. */
  version: string | null;
  /** Grows whenever `about` may have changed; 0: nothing is known yet. */
  due: number;
}

/** What a view may ask of the page around it. */
interface Acts {
  /**
   * Go to a Step (null: to the workflow alone); `query` are the parameters of the address. The
   * tab (`view`) and its filter (`state`) stay unless `query` has others ("": none).
   */
  open(step: string | null, query?: Record<string, string>): void;
  /** Run these Steps again, after a question where more than they would run. */
  rerun(steps: string[]): void;
}

/** A tab of a workflow, or a Step's panel. */
interface View {
  element: HTMLElement;
  /** Called with each change, only while it is in sight, at most once for each frame. */
  show(slice: Slice, query: Record<string, string>): unknown;
  close(): void;
  /** Put the keyboard into it; without this it goes on the view as a whole. */
  focus?(): void;
  /** Mark a Step (null: none). */
  select?(step: string | null): unknown;
  /** Its own tools, shown beside the tabs. */
  tools?: HTMLElement;
}

/** One attempt in the answer of `GET /api/workflows/NAME/attempts?step=STEP`. */
interface AttemptRecord {
  task: string;
  number: number;
  state: string;
  reason: string;
  message: string | null;
  queued: number;
  started: number | null;
  ended: number | null;
  elapsed: number | null;
  exit_code: number | null;
  usage: Usage | null;
  image: string;
  image_id: string | null;
  command: string[];
  /** Key → digest of what it read; null where it isn't known. */
  inputs: Record<string, string | null>;
  reused?: { workflow: string; step: string; task: string };
  has_log: boolean;
  worker: number | null;
}

/** One row in the answer of `GET /api/workflows/NAME/table`. */
interface StepRow {
  step: string;
  command: string;
  state: string;
  reason: string;
  task: string | null;
  started: number | null;
  ended: number | null;
  elapsed: number | null;
  duration: number | null;
  cpu: number | null;
  memory: number | null;
  attempts: number;
}

/** The answer of `POST /api/workflows/NAME/plan`. */
interface Plan {
  would: { step: string; reason: string }[];
  complete: number;
  running: number;
  reused: number;
  timed: number;
  seconds: number;
}

/** A Step that runs, in the answer of `GET /api/workflows/NAME/definition?step=STEP`. */
interface ConcreteStep {
  step: string;
  command: string;
  image: string;
  tokens: string[];
  inputs: [string, string][];
  outputs: [string, string][];
  vars: Record<string, unknown>;
  timeout: number;
  unfit: string | null;
}
/** A place on the page: a workflow (null: the list), a Step, and the address' parameters. */
interface Route { name: string | null; step: string | null; query: Record<string, string> }

/** What the page knows; `refused` is what the server said instead of an answer. */
interface PageState {
  route: Route;
  /** `since`: when it was lost, in seconds since the epoch; `met`: it was there before. */
  link: {
    state: "unknown" | "live" | "lost"; why: string | null; since: number | null; met: boolean;
  };
  /** Workflows in the order of their upload; null until the first news. */
  workflows: ReadonlyMap<string, Record<string, any>> | null;
  slice: Slice | null;
  refused: string | null;
}

/** News for the store (store.js). */
type News =
  | { kind: "route"; route: Route }
  | LinkNews
  | StreamNews
  | { kind: "refused"; follow: string; text: string }
  | { kind: "graph"; name: string; graph: Graph }
  | { kind: "about"; name: string; about: Record<string, any> }
  /** The reader looks at the page again: files may have changed unseen. */
  | { kind: "look" };

/** Whether the server answers; `why` is what it refused, `at` in seconds since the epoch. */
interface LinkNews { kind: "link"; there: boolean; why: string | null; at: number }

/** Changes (null: gone) of all workflows, and of the Steps of the one that a tab follows. */
interface StreamNews {
  kind: "stream";
  follow: string | null;
  /** They are all there is. */
  whole: boolean;
  workflows: ReadonlyMap<string, Record<string, any> | null>;
  steps: ReadonlyMap<string, StepNews | null>;
  /** The graph's version, if it is news. */
  graph: string | null;
}

/** What the stream tells of one workflow that is followed. */
interface Followed { steps: Map<string, any>; graph: string | null }

interface ConnectionListener {
  changed(news: any, whole: boolean): void;
  linked(there: boolean, why: string | null, status: number | null): void;
}

type ConnectionMaker = (names: string[], hidden: boolean, on: ConnectionListener) => {
  retry(): void; hide(hidden: boolean): void; close(): void;
};

/** What the workflow's header asks of orders.js. */
interface OrdersLike { run(): void; halt(): void; retryFailed(): void; expireAll(): void }

type Content =
  | Node | string | number | boolean | null | undefined | readonly Content[];
type Attributes = Record<string, string | number | boolean | null | undefined | Function>;
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
