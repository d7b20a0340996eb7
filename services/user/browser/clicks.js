// Reports to POST /v1/events; README.md says when, and of whom. Without consent nothing is kept.
const KEY = "shopsphere.visitor", KEPT = 500, PORTION = 100, LONGEST_PAUSE = 60000;

// Whose token it is: their next one names the same.
const owner = (bearer) => {
  try { return JSON.parse(atob(bearer.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).sub || bearer; }
  catch { return bearer; }
};

export function clicks({ url = "/v1/events", consent = false, token, most = 20, wait = 5000 } = {}) {
  const objects = navigator.globalPrivacyControl || navigator.doNotTrack === "1";
  // `busy` is under way, and in the queue until it is answered.
  let agreed, visitor, timer, busy, queue = [], pause = 0;

  const id = () => crypto.randomUUID?.() ?? "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) =>
    (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16));

  // Where nothing may be stored the visitor lasts as long as the page.
  const stored = (change) => { try { return change(localStorage); } catch {} };

  const body = (events) => JSON.stringify({ visitor_id: visitor, events: events.map(({ event }) => event) });

  const later = (milliseconds) => { timer ??= setTimeout(flush, milliseconds); };

  const without = (all, events) => all.filter((event) => !events.includes(event));

  // Of one person: whoever comes next has no part in it.
  const portion = (all, count) => all.filter(({ who }) => who === all[0].who).slice(0, count);

  const present = () => token?.() || "";

  const stays = ([{ who }]) => owner(present()) === who;

  const longer = (seconds) => Math.min(Math.max(2 * pause, seconds * 1000 || 2000), LONGEST_PAUSE);

  // Whether to send again, and the seconds before.
  async function post(events) {
    try {
      const bearer = stays(events) ? present() : events[0].bearer;
      // text/plain needs no question beforehand; a token does.
      const headers = { "content-type": "text/plain", ...(bearer && { authorization: "Bearer " + bearer }) };
      const answer = await fetch(url, { method: "POST", body: body(events), headers, keepalive: true });
      // 401: who is still there will have another token.
      const { status } = answer, again = status === 401 ? stays(events) : status === 429 || status >= 500;
      return [again, Number(answer.headers.get("retry-after"))];
    } catch { return [true, 0]; /* no network */ }
  }

  async function flush() {
    timer = clearTimeout(timer);
    if (busy || !queue.length) return;
    const batch = busy = portion(queue, most), [again, seconds] = await post(batch);
    busy = 0;
    pause = again ? longer(seconds) : 0;
    if (!again) queue = without(queue, batch);
    if (queue.length) later(pause || (queue.length < most ? wait : 0));
  }

  // What is under way arrives without us. A beacon carries no token.
  function close() {
    let rest = without(queue, busy || []);
    while (rest.length) {
      const part = portion(rest, PORTION), { who } = part[0];
      rest = without(rest, part);
      if (!who && !navigator.sendBeacon(url, body(part))) continue;
      queue = without(queue, part);
      // A page that was only hidden sends again.
      if (who) post(part).then(([again, seconds]) => {
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
    report(type, fields) {
      if (!agreed) return false;
      visitor ??= stored((store) => store.getItem(KEY)) ?? id();
      stored((store) => store.setItem(KEY, visitor));
      const bearer = present(), event = { event_id: id(), type, ...fields, at: new Date().toISOString() };
      queue.push({ who: owner(bearer), bearer, event });
      if (queue.length > KEPT) queue.shift();
      if (queue.length >= most && !pause) flush();
      else later(wait);
      return true;
    },
    consent: agree,
    flush,
  };
}
