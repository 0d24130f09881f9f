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

/** What an attempt took; null where nobody measured it. Seconds and bytes. */
type Usage = Record<string, number | null>;

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
