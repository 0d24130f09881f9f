// The shapes that the modules of the graph's drawing hand to each other.

interface Size { width: number; height: number }
interface Point { x: number; y: number }
/** A box by its upper left corner. */
interface Box extends Point, Size {}

/** A group to draw: `steps` are all in it, `own` those in none of its `groups`. */
interface DrawnGroup {
  id: string;
  name: string;
  by: string;
  steps: number[];
  own: number[];
  groups: DrawnGroup[];
  startsOpen: boolean;
}

interface StepNode { id: string; kind: "step"; step: number }
/** `inside` is null while the group is closed. */
interface GroupNode { id: string; kind: "group"; group: DrawnGroup; inside: Level | null }
/** A point where edges meet that all lead to the same nodes. */
interface JunctionNode { id: string; kind: "junction" }
type PlanNode = StepNode | GroupNode | JunctionNode;
/** An edge between nodes: `links` are the indices of the graph's edges that it stands for. */
interface PlanEdge { from: string; to: string; links: number[] }
interface Level { nodes: PlanNode[]; edges: PlanEdge[] }

interface SizedNode extends Size { id: string }
interface Ends { from: string; to: string }
interface Task { nodes: SizedNode[]; edges: Ends[]; room: Size }
/** Centres of nodes, and the points of each edge between its ends (none: a plain curve). */
interface Laid extends Size {
  nodes: Record<string, Point>;
  edges: Point[][];
  across: boolean;
  /** Whether the layout is a simple one, as the better one takes too long. */
  simple: boolean;
}

/** A part of the picture, drawn as elements or painted. */
interface Item extends Box {
  id: string;
  kind: "step" | "tile" | "dot" | "group";
  step: number;
  group: DrawnGroup | null;
  open: boolean;
}
/** `arrow` unless it ends at a junction; `faint` where many meet. */
interface Line { path: string; links: number[]; arrow: boolean; faint: boolean }
interface Picture extends Size { items: Item[]; lines: Line[]; simple: boolean }

/** A part that can be focused: a Step, a group's head, or its button. */
interface Place extends Box {
  id: string;
  item: Item;
  part: "step" | "head" | "again";
}

/** Steps in numbers: state → how many, and the times of the latest attempts in seconds. */
interface Summary { counts: Map<string, number>; total: number; median: number; timed: number }

/** Where a picture is seen: a point p of it at (x + scale · p.x, y + scale · p.y). */
interface Sight extends Point { scale: number }
