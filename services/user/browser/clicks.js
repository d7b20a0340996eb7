// Reports what a visitor does to POST /v1/events: in batches, over the end of the page, and only when the visitor agreed.
// `consent` is the visitor's answer; a browser that objects (Global Privacy Control, Do Not Track) outweighs it. Without consent
// nothing is kept, not even an id. `token()` gives the access token of somebody who is logged in.
const KEY = "shopsphere.visitor", KEPT = 500, PORTION = 100, LONGEST_PAUSE = 60000;

export function clicks({ url = "/v1/events", consent = false, token, most = 20, wait = 5000 } = {}) {
  const objects = navigator.globalPrivacyControl || navigator.doNotTrack === "1";
  // `busy` is the batch under way; it stands in the queue until it is answered.
  let agreed, visitor, timer, busy, queue = [], pause = 0;

  const id = () => crypto.randomUUID?.() ?? "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) =>
    (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16));

  // A browser may refuse to store; then the visitor lasts as long as the page.
  const stored = (change) => { try { return change(localStorage); } catch { /* refused */ } };

  const body = (events) => JSON.stringify({ visitor_id: visitor, events });

  const later = (milliseconds) => { timer ??= setTimeout(flush, milliseconds); };

  const without = (events) => queue.filter((event) => !events.includes(event));

  const longer = (seconds) => Math.min(Math.max(2 * pause, seconds * 1000 || 2000), LONGEST_PAUSE);

  // Whether to send again, and the seconds before.
  async function post(events, bearer) {
    try {
      // text/plain needs no question beforehand, whatever the origin; a token does.
      const headers = { "content-type": "text/plain", ...(bearer && { authorization: "Bearer " + bearer }) };
      const answer = await fetch(url, { method: "POST", body: body(events), headers, keepalive: true });
      // 401: the token ran out, and the page will have another.
      return [[401, 429].includes(answer.status) || answer.status >= 500, Number(answer.headers.get("retry-after"))];
    } catch { return [true, 0]; /* no network */ }
  }

  async function flush() {
    timer = clearTimeout(timer);
    if (busy || !queue.length) return;
    const batch = busy = queue.slice(0, most), [again, seconds] = await post(batch, token?.());
    busy = 0;
    // The same events go again under the same ids, so that each counts once.
    pause = again ? longer(seconds) : 0;
    if (!again) queue = without(batch);
    if (queue.length) later(pause || (queue.length < most ? wait : 0));
  }

  // What is under way arrives without us. A beacon carries no token: a person would count as a visitor.
  function close() {
    const bearer = token?.(), rest = without(busy || []);
    while (rest.length) {
      const part = rest.splice(0, PORTION);
      if (!bearer && !navigator.sendBeacon(url, body(part))) return;
      queue = without(part);
      // A page that was only hidden sends again, as late as it was told.
      if (bearer) post(part, bearer).then(([again, seconds]) => {
        if (!again || !agreed) return;
        queue.unshift(...part);
        timer = clearTimeout(timer);
        later(pause = longer(seconds));
      });
    }
  }

  function agree(yes) {
    agreed = yes && !objects;
    if (!agreed) {
      queue = [];
      visitor ??= stored((store) => store.getItem(KEY));
      if (visitor) navigator.sendBeacon(url + "?consent=no", body(queue));
      visitor = stored((store) => store.removeItem(KEY));
    }
  }

  addEventListener("pagehide", close);
  document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && close());
  agree(consent);

  return {
    /** Whether it will be reported. `fields` are sku, query, list_id, position. */
    report(type, fields) {
      if (!agreed) return false;
      visitor ??= stored((store) => store.getItem(KEY)) ?? id();
      stored((store) => store.setItem(KEY, visitor));
      queue.push({ event_id: id(), type, ...fields, at: new Date().toISOString() });
      if (queue.length > KEPT) queue.shift();
      if (queue.length >= most && !pause) flush();
      else later(wait);
      return true;
    },
    /** The visitor's new answer. A no takes back what is not sent, what was, and the visitor's id. */
    consent: agree,
    flush,
  };
}
