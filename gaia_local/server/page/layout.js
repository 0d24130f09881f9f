// Asks the worker for layouts; of several requests only the latest counts.

let worker = null;
let latest = 0;

/** The layout of nodes with sizes, for a room; null when a later request has overtaken it. */
export function layout(nodes, edges, room) {
  worker ??= new Worker(new URL("layout-worker.js", import.meta.url), { type: "module" });
  const id = ++latest;
  return new Promise((resolve, reject) => {
    const heard = ({ data }) => {
      if (data.id !== id) return;
      settle();
      resolve(id === latest ? data : null);
    };
    const failed = (event) => {
      settle();
      reject(
        new Error(`the graph can't be laid out: ${event.message ?? "its worker didn't load"}`));
    };
    const settle = () => {
      worker.removeEventListener("message", heard);
      worker.removeEventListener("error", failed);
    };
    worker.addEventListener("message", heard);
    worker.addEventListener("error", failed);
    worker.postMessage({ id, nodes, edges: edges.map(({ from, to }) => ({ from, to })), room });
  });
}
