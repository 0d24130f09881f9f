// @ts-check
// The worker that all tabs share: it holds the one connection to the server.

import { Hub } from "./hub.js";

const hub = new Hub();
const scope = /** @type {SharedWorkerGlobalScope} */ (/** @type {unknown} */ (self));
scope.onconnect = (/** @type {MessageEvent} */ event) => hub.add(event.ports[0]);
